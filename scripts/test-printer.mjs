// A node:test reporter for logs: one line a file, and for a file that failed, its failures and what it wrote to
// standard error. (node's own `dot` drops the latter, which is where an error while loading a file is told.)
import { inspect } from "node:util";
import { testOf } from "./bundle-tests.mjs";

const wanted = new Set(["test:pass", "test:fail", "test:stderr"]);

/** Files do not end with an event of their own on Node 20: one is over when the next one's results begin. */
export default async function* print(source) {
  const files = new Map();
  for await (const { type, data } of source) {
    if (!wanted.has(type) || data.file === undefined) continue;
    if (!files.has(data.file)) files.set(data.file, newFile(data.file));
    record(files.get(data.file), type, data);
    if (type === "test:stderr") continue;
    for (const [file, results] of files) {
      if (file === data.file || results.ended === 0) continue;
      yield summary(results);
      files.delete(file);
    }
  }
  for (const results of files.values()) if (results.ended > 0) yield summary(results);
}

const newFile = (file) => ({ file, ended: 0, passed: 0, skipped: 0, failures: [], stderr: "" });

function record(file, type, data) {
  if (type === "test:stderr") file.stderr = (file.stderr + data.message).slice(-20_000);
  else file.ended++;
  if (type === "test:fail") file.failures.push({ name: data.name, error: data.details.error });
  if (type !== "test:pass") return;
  if (data.skip !== undefined || data.todo !== undefined) file.skipped++;
  else if (data.details?.type !== "suite") file.passed++;
}

function summary(file) {
  const name = testOf(file.file);
  const counts = `${file.passed} passed${file.skipped > 0 ? `, ${file.skipped} skipped` : ""}`;
  if (file.failures.length === 0) return `ok      ${name}: ${counts}\n`;
  const details = file.failures.map(({ name: test, error }) => `  ${test}\n${indent(explain(error))}`);
  const stderr = file.stderr === "" ? [] : [`  standard error:\n${indent(file.stderr.trimEnd())}`];
  return `FAILED  ${name}: ${counts}, ${file.failures.length} failed\n${[...details, ...stderr].join("\n")}\n`;
}

// node wraps what a test threw in an error of its own.
const explain = (error) => inspect(error?.cause ?? error, { depth: 4 });
const indent = (text) => text.replaceAll(/^/gm, "    ");
