import { UsageError } from "./command.ts";

/** ["a=b", "c=d"] as a selector of the CRI. @throws UsageError */
export function labelSelector(options: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    options.map((option) => {
      const at = option.indexOf("=");
      if (at <= 0) throw new UsageError(`label ${JSON.stringify(option)} is not of the form KEY=VALUE`);
      return [option.slice(0, at), option.slice(at + 1)];
    }),
  );
}
