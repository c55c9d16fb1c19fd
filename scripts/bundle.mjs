// TypeScript -> dist/: bin/cricket, which is src/main.ts, and a file of lib/ for each part that it or another part
// loads when it is needed, beside it the source map and V8's code cache. One file instead of some hundred, compiled
// already: that halves the start-up time, and the daemon needs less memory.
import fs from "node:fs";
import path from "node:path";
import { builtinModules, createRequire } from "node:module";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";
import * as esbuild from "esbuild";
import { root } from "./step.mjs";

const dist = path.join(root, "dist");
const lib = path.join(dist, "lib");

/** Each with the source file that is its entry. A dynamic import of that file loads the part. */
const parts = {
  oci: "src/cli/oci/run-oci.ts",
  cli: "src/cli/run-terminal.ts",
  unpack: "src/cli/unpack.ts",
  daemon: "src/daemon.ts",
};

const partOf = new Map(Object.entries(parts).map(([name, file]) => [path.join(root, file), name]));

/** An import of a part becomes a call of src/load-part.ts. */
const loadParts = {
  name: "parts",
  setup(build) {
    build.onResolve({ filter: /\.ts$/ }, ({ kind, resolveDir, path: specifier }) => {
      const name = kind === "dynamic-import" ? partOf.get(path.resolve(resolveDir, specifier)) : undefined;
      return name === undefined ? undefined : { path: name, namespace: "part" };
    });
    build.onLoad({ filter: /.*/, namespace: "part" }, ({ path: name }) => ({
      contents: `const { loadPart } = require("./load-part.ts");
        module.exports = loadPart(require("node:path").resolve(__dirname, "../lib"), "${name}", require);`,
      resolveDir: path.join(root, "src"),
    }));
  },
};

/**
 * Node has some of its own modules loaded when it starts; each of the others costs up to several milliseconds, and
 * most verbs do not use most of what they import. Here they are loaded when a name of theirs is used.
 */
const lazyBuiltins = {
  name: "lazy-builtins",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path: specifier, importer }) =>
      importer.startsWith(path.join(root, "src")) ? { path: specifier, namespace: "builtin" } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: "builtin" }, async ({ path: specifier }) => {
      const names = Object.keys(await import(specifier)).filter((name) => name !== "default");
      return {
        contents: `let loaded;
          for (const name of "${names.join(" ")}".split(" "))
            Object.defineProperty(exports, name, {
              enumerable: true,
              get: () => (loaded ??= require("${specifier}"))[name],
            });`,
      };
    });
  },
};

/**
 * koffi's own loader looks at where Node comes from to find its library, for half of the 4 ms that it takes. This tries
 * the library that it finds almost always, that of glibc; whatever is different, koffi is asked.
 */
const directKoffi = {
  name: "koffi",
  setup(build) {
    build.onResolve({ filter: /^koffi$/ }, ({ path: specifier, namespace }) =>
      namespace === "koffi" ? undefined : { path: specifier, namespace: "koffi" },
    );
    build.onLoad({ filter: /.*/, namespace: "koffi" }, () => ({
      contents: `const find = () => {
          try {
            return require(\`@koromix/koffi-linux-\${process.arch}/linux_\${process.arch}/koffi.node\`);
          } catch {
            return require("koffi");
          }
        };
        module.exports = find();`,
    }));
  },
};

const builtins = builtinModules.flatMap((name) => [name, `node:${name}`]);

const options = {
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node20.19",
  external: ["koffi", ...builtins],
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: "external",
  sourcesContent: false,
  legalComments: "none",
  logLevel: "warning",
  // import.meta.resolve is there for runs from the sources alone.
  logOverride: { "empty-import-meta": "silent" },
  define: { "import.meta.url": "moduleUrl", "import.meta.dirname": "__dirname" },
  supported: { "dynamic-import": false },
  plugins: [loadParts, lazyBuiltins, directKoffi],
};

const urlOfModule = `const moduleUrl = require("node:url").pathToFileURL(__filename).href;`;

function buildProgram() {
  return esbuild.build({
    ...options,
    entryPoints: [path.join(root, "src", "main.ts")],
    outfile: path.join(dist, "bin", "cricket"),
    sourcemap: false,
  });
}

// The function that src/load-part.ts calls; esbuild counts the banner's lines in the source map.
function buildPart(name, entry) {
  return esbuild.build({
    ...options,
    entryPoints: [path.join(root, entry)],
    outfile: path.join(lib, `${name}.cjs`),
    banner: { js: `(function (require, module, __filename, __dirname) {${urlOfModule}` },
    footer: { js: "})" },
  });
}

function buildWorker() {
  return esbuild.build({
    ...options,
    entryPoints: [path.join(root, "src", "snapshot", "unpack-worker.ts")],
    outfile: path.join(lib, "unpack-worker.cjs"),
    banner: { js: urlOfModule },
    sourcemap: false,
  });
}

/**
 * The code cache holds what V8 has compiled so far: of the runtime's verbs all functions, of the larger parts what
 * runs while they are loaded. V8 refuses a cache for other flags than its own, so these are set back before it writes.
 */
function writeCache(name) {
  const filename = path.join(lib, `${name}.cjs`);
  const source = fs.readFileSync(filename, "latin1");
  const isEager = name === "oci";
  if (isEager) setFlagsFromString("--no-lazy");
  const script = new Script(source, { filename });
  if (isEager) setFlagsFromString("--lazy");
  else script.runInThisContext()(createRequire(filename), { exports: {} }, filename, lib);
  fs.writeFileSync(`${filename}.cache`, script.createCachedData());
}

fs.rmSync(dist, { recursive: true, force: true });
await Promise.all([
  buildProgram(),
  buildWorker(),
  ...Object.entries(parts).map(([name, entry]) => buildPart(name, entry)),
]);
// The program has no ending in its name, and would be taken for an ES module as the package's sources are.
fs.writeFileSync(path.join(dist, "bin", "package.json"), '{ "type": "commonjs" }\n');
fs.chmodSync(path.join(dist, "bin", "cricket"), 0o755);
fs.symlinkSync("cricket", path.join(dist, "bin", "cricket-oci"));
for (const name of Object.keys(parts)) writeCache(name);
