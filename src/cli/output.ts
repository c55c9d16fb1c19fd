// The -o option that all lists have.
import { UsageError, type OptionTable } from "./command.ts";

export const outputOptions = {
  output: { short: "o", value: "FORMAT", about: "table (default) or json" },
} as const satisfies OptionTable;

/** @throws UsageError for a format there is not */
export function outputOf(option: string | undefined): "table" | "json" {
  if (option === undefined || option === "table") return "table";
  if (option === "json") return "json";
  throw new UsageError(`output format ${JSON.stringify(option)} is neither table nor json`);
}
