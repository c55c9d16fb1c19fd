// CNI plugins that do what a test wants: they record how they were called, succeed by default, and behave otherwise
// for a command where the test says so in shell.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Log } from "../../src/base/log.ts";

export interface PluginCall {
  plugin: string;
  command: string;
  containerId: string;
  netns: string;
  interfaceName: string;
  args: string;
  path: string;
  config: Record<string, unknown>;
}

const versions = '["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]';

/** The default result; %s takes the version of the request. */
const result = (address: string): string =>
  JSON.stringify({
    cniVersion: "%s",
    interfaces: [{ name: "host0" }, { name: "eth0", sandbox: "%s" }],
    ips: [{ address, interface: 1 }],
    dns: {},
  });

const script = (plugin: string, directory: string): string => `#!/bin/sh
config=$(cat)
version=$(printf '%s' "$config" | sed 's/.*"cniVersion":"\\([^"]*\\)".*/\\1/')
printf '{"plugin":"${plugin}","command":"%s","containerId":"%s","netns":"%s","interfaceName":"%s","args":"%s","path":"%s","config":%s}\\n' \\
  "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_NETNS" "$CNI_IFNAME" "$CNI_ARGS" "$CNI_PATH" "$config" >>'${directory}/calls'
if [ -e '${directory}/${plugin}.'$CNI_COMMAND ]; then . '${directory}/${plugin}.'$CNI_COMMAND; fi
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":${versions}}' ;;
ADD) printf '${result("10.9.8.7/24")}' "$version" "$CNI_NETNS" ;;
esac
`;

export class CniDouble implements Disposable {
  readonly directory: string;
  readonly confDir: string;
  readonly binDir: string;
  readonly stateDir: string;

  constructor() {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-cni-"));
    this.confDir = path.join(this.directory, "net.d");
    this.binDir = path.join(this.directory, "bin");
    this.stateDir = path.join(this.directory, "state");
    for (const directory of [this.confDir, this.binDir, this.stateDir]) fs.mkdirSync(directory);
  }

  /** Installs plugins of these names. */
  install(...plugins: string[]): void {
    for (const plugin of plugins) {
      // Renamed into place: a file that was just written may be held open by a child that is being spawned.
      const file = path.join(this.binDir, plugin);
      fs.writeFileSync(`${file}.new`, script(plugin, this.directory), { mode: 0o755 });
      fs.renameSync(`${file}.new`, file);
    }
  }

  uninstall(plugin: string): void {
    fs.rmSync(path.join(this.binDir, plugin));
  }

  /** What the plugin does for a command before its usual answer; `exit` ends it. "" for nothing of the kind. */
  behave(plugin: string, command: string, shell: string): void {
    const file = path.join(this.directory, `${plugin}.${command}`);
    if (shell === "") fs.rmSync(file, { force: true });
    else fs.writeFileSync(file, `${shell}\n`);
  }

  /** A file of the configuration directory, replaced at once as careful writers do. */
  configure(name: string, content: unknown): void {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    fs.writeFileSync(path.join(this.directory, "new-config"), text);
    fs.renameSync(path.join(this.directory, "new-config"), path.join(this.confDir, name));
  }

  unconfigure(name: string): void {
    fs.rmSync(path.join(this.confDir, name));
  }

  /** The calls so far, VERSION left out. */
  calls(...commands: string[]): PluginCall[] {
    const file = path.join(this.directory, "calls");
    if (!fs.existsSync(file)) return [];
    const lines = fs.readFileSync(file, "utf8").split("\n").filter(Boolean);
    const calls = lines.map((line) => JSON.parse(line) as PluginCall);
    return calls.filter(({ command }) =>
      commands.length === 0 ? command !== "VERSION" : commands.includes(command),
    );
  }

  /** "bridge ADD", in the order of the calls. */
  summary(...commands: string[]): string[] {
    return this.calls(...commands).map(({ plugin, command }) => `${plugin} ${command}`);
  }

  forgetCalls(): void {
    fs.rmSync(path.join(this.directory, "calls"), { force: true });
  }

  /** Files of attachments that are recorded. */
  records(): string[] {
    const directory = path.join(this.stateDir, "results");
    return fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface RecordingLog {
  log: Log;
  lines: string[];
}

export function recordingLog(): RecordingLog {
  const lines: string[] = [];
  return { log: new Log({ level: "debug", write: (line) => lines.push(line) }), lines };
}
