// The `info` map of verbose statuses: JSON texts, which crictl puts into its own output.

/** `{[key]: <JSON>}`; 64-bit integers become numbers where a number is exact, else texts. */
export function verboseInfo(key: string, value: object): Record<string, string> {
  return { [key]: JSON.stringify(value, exactNumber) };
}

/** The same of several, each under its key. */
export function verboseInfos(values: Readonly<Record<string, object>>): Record<string, string> {
  return Object.assign(
    {},
    ...Object.entries(values).map(([key, value]) => verboseInfo(key, value)),
  ) as Record<string, string>;
}

function exactNumber(_key: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}
