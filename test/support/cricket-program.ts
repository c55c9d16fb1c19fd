import path from "node:path";

const checkout = path.resolve(import.meta.dirname, "../..");

/**
 * What node is given to run the `cricket` program: as built where `npm test` did so before, which starts several times
 * faster; a single file run by hand takes the sources as they are.
 */
export function cricketProgram(): string[] {
  return process.env["CRICKET_TEST_DIST"] === "1"
    ? [path.join(checkout, "dist/bin/cricket")]
    : ["--import", import.meta.resolve("tsx"), path.join(checkout, "src/main.ts")];
}
