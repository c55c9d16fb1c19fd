// Structured log lines on standard error: one line an event, `key=value` or JSON.

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Record<string, string | number | bigint | boolean | undefined>;

const severity: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface LogOptions {
  level?: LogLevel;
  format?: "text" | "json";
  write?: (line: string) => void;
}

export class Log {
  #level = severity.info;
  #json = false;
  readonly #write: (line: string) => void;
  readonly #fields: LogFields;

  constructor(options: LogOptions = {}, fields: LogFields = {}) {
    this.configure(options);
    this.#write = options.write ?? writeToStderr;
    this.#fields = fields;
  }

  /** Changes level and format from the next line on. */
  configure({ level = "info", format = "text" }: Pick<LogOptions, "level" | "format">): void {
    this.#level = severity[level];
    this.#json = format === "json";
  }

  debug(message: string, fields?: LogFields): void {
    this.#emit("debug", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#emit("info", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#emit("warn", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#emit("error", message, fields);
  }

  #emit(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (severity[level] < this.#level) return;
    const entry = { time: new Date().toISOString(), level, message, ...this.#fields, ...fields };
    this.#write(`${this.#json ? formatJson(entry) : formatText(entry)}\n`);
  }
}

// A log on a full disk, or one that nobody reads any more, is no reason to end: the line is lost.
function writeToStderr(line: string): void {
  try {
    process.stderr.write(line);
  } catch {
    // There is nowhere to say so.
  }
}

function formatJson(entry: LogFields): string {
  return JSON.stringify(entry, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}

function formatText(entry: LogFields): string {
  return Object.entries(entry)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${quote(String(value))}`)
    .join(" ");
}

// Values come from clients and registries: a newline in one must not forge a second log line.
function quote(value: string): string {
  return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
}
