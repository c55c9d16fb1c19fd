// npm run format: rewrites every file in the project's layout.
import { clangFormatVersion } from "./debian-packages.mjs";
import { cFiles, clangFormatWanted } from "./c-files.mjs";
import { setup } from "./setup.mjs";
import { bin, runOrExit } from "./step.mjs";

setup();
runOrExit(bin("prettier"), ["--write", "--log-level=warn", "."]);
if (clangFormatVersion() === clangFormatWanted) runOrExit("clang-format", ["-i", ...cFiles()]);
