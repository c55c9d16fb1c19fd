import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../src/base/errors.ts";
import { describeConfig, loadConfig, type ConfigFiles } from "../../../src/config/load-config.ts";

const main = "/etc/cricket/cricket.toml";

/** Files by path; drop-ins are those below /etc/cricket/conf.d. */
function filesWith(files: Record<string, string>): ConfigFiles {
  return {
    read: (path) => files[path],
    list: (directory) =>
      Object.keys(files)
        .filter((path) => path.startsWith(`${directory}/`))
        .map((path) => path.slice(directory.length + 1)),
  };
}

const load = (toml: string) => loadConfig({ files: filesWith({ [main]: toml }) }).config;
const fromFlags = (...argv: string[]) => loadConfig({ argv, files: filesWith({}) }).config;

test("`loadConfig()` without files gives the defaults", () => {
  const { config, files } = loadConfig({ files: filesWith({}) });
  assert.deepEqual(files, []);
  assert.equal(config.socket, "/run/cricket/cricket.sock");
  assert.equal(config.stateRoot, "/var/lib/cricket");
  assert.deepEqual(config.log, { level: "info", format: "text" });
  assert.deepEqual(config.cgroup, { parent: "/cricket", driver: "cgroupfs" });
  assert.equal(config.network.subnet, "10.88.0.0/16");
  assert.equal(config.container.logMaxLineBytes, 16_384);
  assert.equal(config.container.defaultCapabilities.length, 14);
  assert.match(config.helperDir, /\/build$/);
});

test("`loadConfig()` reads every section, in snake case", () => {
  const config = load(`
    state_root = "/data/cricket/"
    run_root = "/run/other"
    [log]
    level = "debug"
    [network]
    subnet6 = "fd00:10::/64"
    mtu = 1400
    cni_bin_dirs = ["/opt/a", "/opt/b"]
    [image]
    pinned = ["registry.example/pause:*", "docker.io/library/busybox:1"]
    stall_timeout_ms = 0
    [sandbox]
    allowed_sysctls = ["net.core.somaxconn"]
    [container]
    pids_limit = 1000
    default_rlimits = ["nofile=1024:4096", "RLIMIT_CORE=unlimited", "nproc=5"]
    default_env = ["A=b=c"]
    seccomp_profile = "/etc/cricket/seccomp.json"
  `);
  assert.equal(config.stateRoot, "/data/cricket");
  assert.equal(config.socket, "/run/other/cricket.sock");
  assert.equal(config.log.level, "debug");
  assert.equal(config.network.subnet6, "fd00:10::/64");
  assert.deepEqual(config.network.cniBinDirs, ["/opt/a", "/opt/b"]);
  assert.equal(config.image.stallTimeoutMs, 0);
  assert.deepEqual(config.container.defaultRlimits, [
    { name: "nofile", soft: 1024n, hard: 4096n },
    { name: "core", soft: -1n, hard: -1n },
    { name: "nproc", soft: 5n, hard: 5n },
  ]);
  assert.deepEqual(config.container.defaultEnv, ["A=b=c"]);
});

test("each source overrides the one before it, key by key", () => {
  const files = filesWith({
    [main]: '[log]\nlevel = "error"\nformat = "json"\n[network]\nmtu = 1\n',
    "/etc/cricket/conf.d/20-b.toml": "[network]\nmtu = 3\n",
    "/etc/cricket/conf.d/10-a.toml": "[network]\nmtu = 2\nbridge_name = 'br1'\n",
    "/etc/cricket/conf.d/README": "not toml at all",
    "/etc/cricket/conf.d/.hidden.toml": "x = 1",
  });
  const env = { CRICKET_LOG_LEVEL: "warn", CRICKET_SOCKET: "", CRICKET_RUN_ROOT: "/run/env" };
  const { config, files: read } = loadConfig({ files, env, argv: ["--run-root", "/run/flag"] });
  assert.deepEqual(read, [main, "/etc/cricket/conf.d/10-a.toml", "/etc/cricket/conf.d/20-b.toml"]);
  assert.equal(config.network.mtu, 3);
  assert.equal(config.network.bridgeName, "br1");
  assert.deepEqual(config.log, { level: "warn", format: "json" });
  assert.equal(config.runRoot, "/run/flag");
  assert.equal(config.socket, "/run/flag/cricket.sock");
});

test("`--set` takes any key, with a TOML value or bare text", () => {
  const config = fromFlags(
    "--set",
    "network.mtu=1400",
    "--set=network.subnet=10.1.0.0/16",
    "--set",
    'image.pinned=["a", "b"]',
    "--set",
    "container.default_env=['X=1']",
    "--log-level=debug",
  );
  assert.equal(config.network.mtu, 1400);
  assert.equal(config.network.subnet, "10.1.0.0/16");
  assert.deepEqual(config.image.pinned, ["a", "b"]);
  assert.equal(config.log.level, "debug");
});

function messageOfBad(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof CricketError, String(error));
    assert.equal(error.code, "invalid-argument");
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

test("a bad value is named with its file and key", () => {
  const cases: [toml: string, message: RegExp][] = [
    ["sockt = 'x'", /^\/etc\/cricket\/cricket\.toml: sockt is not a setting$/],
    ["[network]\nsubnets = 'x'", /cricket\.toml: network\.subnets is not a setting/],
    ["[nets]\nsubnet = 'x'", /cricket\.toml: nets is not a setting/],
    ["network = 5", /cricket\.toml: network is not a table/],
    ["[network]\nsubnet = 'x'", /network\.subnet is "x": not an IPv4 CIDR/],
    ["[network]\nsubnet = '10.0.0.0/31'", /network\.subnet is "10\.0\.0\.0\/31": the prefix length/],
    ["[network]\nsubnet = 'fd00::/64'", /not an IPv4 CIDR/],
    ["[network]\nsubnet6 = '10.0.0.0/8'", /not an IPv6 CIDR/],
    ["[network]\nmtu = '1'", /network\.mtu is "1": not a whole number/],
    ["[network]\nmtu = 1.5", /network\.mtu is 1\.5: not a whole number/],
    ["[network]\nmtu = 70000", /network\.mtu is 70000: not in 0\.\.65535/],
    ["[network]\nbridge_name = 'a/b'", /network\.bridge_name/],
    ["[network]\nbridge_name = 'sixteencharacter'", /network\.bridge_name/],
    ["[network]\ncni_bin_dirs = ['/a', 'b']", /network\.cni_bin_dirs \[1\] is "b": not an absolute path/],
    ["state_root = 'var'", /state_root is "var": not an absolute path/],
    ["state_root = '/a/../b'", /holds \.\./],
    ["state_root = 5", /state_root is 5: not a string/],
    ["state_root = 1979-05-27", /state_root is .*: not a string/],
    ["[log]\nlevel = 'loud'", /log\.level is "loud": not one of debug, info, warn, error/],
    ["[cgroup]\nparent = '/'", /cgroup\.parent/],
    ["[cgroup]\nparent = '/a/..'", /cgroup\.parent/],
    ["[cgroup]\nparent = '/a/../b.slice'", /cgroup\.parent/],
    ["[cgroup]\ndriver = 'launchd'", /cgroup\.driver/],
    ["[image]\nparallel_layers = 0", /image\.parallel_layers is 0: not in 1\.\.64/],
    ["[image]\npinned = 'x'", /image\.pinned is "x": not a list/],
    ["[sandbox]\nallowed_sysctls = ['a+b']", /sandbox\.allowed_sysctls \[0\]/],
    ["[container]\ndefault_capabilities = ['CHOWN']", /container\.default_capabilities \[0\]/],
    ["[container]\ndefault_rlimits = ['nofile=5:4']", /the soft limit is above the hard one/],
    ["[container]\ndefault_rlimits = ['nofile=unlimited:4']", /the soft limit is above the hard one/],
    ["[container]\ndefault_rlimits = ['bogus=5']", /not of the form/],
    ["[container]\ndefault_env = ['=x']", /not of the form KEY=value/],
    ["x = ", /^\/etc\/cricket\/cricket\.toml:1: /],
  ];
  for (const [toml, message] of cases)
    assert.match(
      messageOfBad(() => load(toml)),
      message,
      toml,
    );
});

test("a bad flag or variable is named", () => {
  assert.match(
    messageOfBad(() => fromFlags("--bogus")),
    /bogus/,
  );
  assert.match(
    messageOfBad(() => fromFlags("extra")),
    /extra/,
  );
  assert.match(
    messageOfBad(() => fromFlags("--set", "novalue")),
    /--set novalue: not of the form KEY=VALUE/,
  );
  assert.match(
    messageOfBad(() => fromFlags("--set", "a.b=1")),
    /command line: a\.b is not a setting/,
  );
  const env = { CRICKET_LOG_LEVEL: "x" };
  assert.match(
    messageOfBad(() => loadConfig({ env, files: filesWith({}) })),
    /^CRICKET_LOG_LEVEL: log\.level/,
  );
  assert.match(
    messageOfBad(() => fromFlags("--config", "/nowhere.toml")),
    /\/nowhere\.toml: no such file/,
  );
});

test("`loadConfig()` gives a CricketError or a configuration for any text", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.constantFrom("", "[network]\nsubnet=", "state_root='", "[log]\n"),
      (text, before) => {
        try {
          load(before + text);
        } catch (error) {
          assert.ok(error instanceof CricketError, String(error));
        }
      },
    ),
  );
});

test("`describeConfig()` can be read back as it is printed", () => {
  const config = fromFlags(
    "--set",
    "container.default_rlimits=['nofile=1:2']",
    "--set",
    "image.pinned=['a\"b']",
    "--set",
    "runtimes.runc.path=/usr/sbin/runc",
  );
  const lines = Object.entries(describeConfig(config)).map(([key, value]) => `--set=${key}=${value}`);
  assert.deepEqual(fromFlags(...lines), config);
});

test("`loadConfig()` gathers runtime handlers from all files", () => {
  const files = filesWith({
    [main]: '[runtimes.runc]\npath = "/usr/sbin/runc"\n[runtimes.alias]\ntype = "embedded"\n',
    "/etc/cricket/conf.d/a.toml":
      '[runtimes.runc]\ntimeout_ms = 500\n[runtimes.crun]\npath = "/usr/bin/crun"\n',
  });
  assert.deepEqual(loadConfig({ files }).config.runtimes, {
    runc: { type: "oci", path: "/usr/sbin/runc", root: "", timeoutMs: 500 },
    alias: { type: "embedded", path: "", root: "", timeoutMs: 60_000 },
    crun: { type: "oci", path: "/usr/bin/crun", root: "", timeoutMs: 60_000 },
  });
});

test("`loadConfig()` refuses runtime handlers that cannot be", () => {
  const bad: [toml: string, message: RegExp][] = [
    ['[runtimes.Runc]\npath = "/a"', /runtimes\."Runc": not a DNS label/],
    ['[runtimes.cricket]\npath = "/a"', /the embedded runtime's name/],
    ["[runtimes.runc]", /runtimes\.runc\.path is not set/],
    ['[runtimes.runc]\npath = "runc"', /not an absolute path/],
    ['[runtimes.runc]\npath = "/a"\nshim = 1', /runtimes\.runc\.shim is not a setting/],
    ['[runtimes.runc]\npath = "/a"\ntype = "vm"', /not one of oci, embedded/],
    ['[runtimes.runc]\npath = "/a"\ntype = "embedded"', /is set, but runtimes\.runc\.type is "embedded"/],
    ["runtimes = 3", /runtimes is not a table/],
    ["[runtimes]\nrunc = 3", /runtimes\.runc is not a table/],
  ];
  for (const [toml, message] of bad) assert.throws(() => load(toml), { code: "invalid-argument", message });
});

test("`loadConfig()` reads real files, with drop-ins beside the one that is named", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-config-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, "conf.d"));
  writeFileSync(join(directory, "c.toml"), "[network]\nmtu = 1\n");
  writeFileSync(join(directory, "conf.d", "a.toml"), "[network]\nmtu = 2\n");
  const argv = ["--config", join(directory, "c.toml")];
  assert.equal(loadConfig({ argv }).config.network.mtu, 2);
  assert.equal(loadConfig({ argv: [...argv, "--config-dir", directory] }).config.network.mtu, 1);
});

test("the sample in deploy/ says what the defaults are", () => {
  const sample = join(import.meta.dirname, "../../../deploy/cricket.toml");
  const defaults = loadConfig({ files: filesWith({}) }).config;
  const loaded = loadConfig({ argv: ["--config", sample, "--config-dir", "/nonexistent"] }).config;
  assert.deepEqual({ ...loaded, helperDir: "" }, { ...defaults, helperDir: "" });
});
