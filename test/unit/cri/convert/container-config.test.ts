import assert from "node:assert/strict";
import { test } from "node:test";
import { containerConfigFromWire } from "../../../../src/cri/convert/container-config.ts";
import { toInt64 } from "../../../../cri-api/int64.ts";
import { v1 } from "../../../../cri-api/runtime/v1/api.js";
import { containerSecurity, containerWire, refusal } from "./wire.ts";

const convert = (wire: v1.ContainerConfig) => containerConfigFromWire(wire, "config");
const id = (value: bigint) => ({ value: toInt64(value) });

test("`containerConfigFromWire()` gives a config with defaults for all that is left out", () => {
  const config = convert(containerWire());
  assert.deepEqual(config.metadata, { name: "main", attempt: 1 });
  assert.equal(config.image.reference, "busybox");
  assert.equal("stopSignal" in config, false);
  assert.equal(config.security.seccomp, undefined);
  assert.deepEqual(config.resources.unified, {});
});

test("`containerConfigFromWire()` ignores image_sub_path of a mount without an image", () => {
  const mount = { containerPath: "/file", hostPath: "/srv/volume/file", readonly: true };
  // As the kubelet sends the subPath of any volume in a pod that has an image volume too.
  const [, ...plain] = convert(containerWire({ mounts: [mount, mount] })).mounts;
  assert.deepEqual(convert(containerWire({ mounts: [{ ...mount, imageSubPath: "../file" }] })).mounts, plain);
});

test("`containerConfigFromWire()` takes over every field", () => {
  const config = convert(
    containerWire({
      command: ["sh", "-c"],
      args: ["echo hi", ""],
      workingDir: "/work",
      envs: [{ key: "BIN", value: Uint8Array.from([0xff, 0x80]) }],
      mounts: [
        { containerPath: "/data", hostPath: "/srv/data", readonly: true, recursiveReadOnly: true },
        { containerPath: "/shared", hostPath: "/srv/s", propagation: 2, selinuxRelabel: true },
        { containerPath: "/img", image: { image: "sha256:abc" }, imageSubPath: "etc", readonly: true },
      ],
      devices: [{ containerPath: "/dev/fuse", hostPath: "/dev/fuse", permissions: "rwm" }],
      CDIDevices: [{ name: "vendor.com/gpu=0" }],
      logPath: "main/0.log",
      stdin: true,
      stdinOnce: true,
      tty: true,
      stopSignal: v1.Signal.SIGRTMINPLUS3,
      linux: {
        resources: {
          cpuQuota: toInt64(-1n),
          memoryLimitInBytes: toInt64(-1n),
          memorySwapLimitInBytes: toInt64(-1n),
          cpusetCpus: "0-3,7",
        },
        securityContext: {
          capabilities: { addCapabilities: ["NET_ADMIN"], dropCapabilities: ["ALL"] },
          runAsUsername: "nobody",
          runAsGroup: id(5n),
          maskedPaths: ["/proc/kcore"],
          namespaceOptions: { pid: 3, targetId: "abc" },
        },
      },
    }),
  );
  assert.deepEqual(config.args, ["echo hi", ""]);
  assert.deepEqual(config.envs, [{ key: "BIN", value: Uint8Array.from([0xff, 0x80]) }]);
  assert.deepEqual(config.mounts[2], {
    containerPath: "/img",
    hostPath: "",
    readonly: true,
    recursiveReadOnly: false,
    propagation: "private",
    selinuxRelabel: false,
    uidMappings: [],
    gidMappings: [],
    image: { reference: "sha256:abc", userSpecified: "", subPath: "etc" },
  });
  assert.equal(config.mounts[1]?.propagation, "bidirectional");
  assert.equal(config.stopSignal, "SIGRTMIN+3");
  assert.equal(config.resources.cpuQuota, -1n);
  assert.equal(config.security.runAsGroup, 5);
  assert.deepEqual(config.security.namespaces, {
    network: "pod",
    pid: "target",
    ipc: "pod",
    targetId: "abc",
  });
  assert.deepEqual(config.cdiDevices, ["vendor.com/gpu=0"]);
});

const bind = { containerPath: "/a", hostPath: "/b" };
const image = { image: "x" };

const refused: [v1.ContainerConfigSent, string][] = [
  [{ metadata: null }, "config.metadata is missing"],
  [{ metadata: { name: "" } }, "config.metadata.name is empty"],
  [{ image: null }, "config.image is missing"],
  [{ image: { image: "" } }, "config.image.image is empty"],
  [{ command: ["a", "b\0c"] }, "config.command[1] contains a NUL byte"],
  [{ args: ["\0"] }, "config.args[0] contains a NUL byte"],
  [{ workingDir: "tmp" }, 'config.working_dir is "tmp": not an absolute path'],
  [{ envs: [{ key: "" }] }, "config.envs[0].key is empty"],
  [{ envs: [{ key: "A=B" }] }, 'config.envs[0].key is "A=B": contains "="'],
  [{ envs: [{ key: "A", value: Uint8Array.from([65, 0]) }] }, "config.envs[0].value contains a NUL byte"],
  [{ mounts: [{ hostPath: "/b" }] }, "config.mounts[0].container_path is empty"],
  [
    { mounts: [bind, { ...bind, containerPath: "a" }] },
    'config.mounts[1].container_path is "a": not an absolute path',
  ],
  [{ mounts: [{ containerPath: "/a" }] }, "config.mounts[0].host_path is empty"],
  [{ mounts: [{ ...bind, hostPath: "./b" }] }, 'config.mounts[0].host_path is "./b": not an absolute path'],
  [
    { mounts: [{ ...bind, hostPath: `/${"b".repeat(4095)}` }] },
    "config.mounts[0].host_path is longer than 4095 bytes",
  ],
  [{ mounts: [{ ...bind, propagation: 3 }] }, "config.mounts[0].propagation is 3: not a known value"],
  [{ mounts: [{ ...bind, recursiveReadOnly: true }] }, "config.mounts[0].recursive_read_only needs readonly"],
  [
    { mounts: [{ ...bind, recursiveReadOnly: true, readonly: true, propagation: 1 }] },
    "config.mounts[0].recursive_read_only needs propagation PROPAGATION_PRIVATE",
  ],
  [
    { mounts: [{ ...bind, image, readonly: true }] },
    "config.mounts[0].host_path is given together with image",
  ],
  [
    { mounts: [{ containerPath: "/a", image }] },
    "config.mounts[0].readonly is false: images are mounted read-only",
  ],
  [
    { mounts: [{ containerPath: "/a", image, readonly: true, imageSubPath: "a/../../etc" }] },
    'config.mounts[0].image_sub_path is "a/../../etc": contains ".."',
  ],
  [
    { mounts: [{ ...bind, uidMappings: [{ hostId: 1, containerId: 0, length: 0 }] }] },
    "config.mounts[0].uidMappings[0].length is 0",
  ],
  [
    { devices: [{ containerPath: "/dev/x", hostPath: "/dev/x", permissions: "rr" }] },
    'config.devices[0].permissions is "rr": not a choice of r, w and m',
  ],
  [
    { devices: [{ containerPath: "dev/x", hostPath: "/dev/x", permissions: "r" }] },
    'config.devices[0].container_path is "dev/x": not an absolute path',
  ],
  [{ CDIDevices: [{ name: "" }] }, "config.CDI_devices[0].name is empty"],
  [{ stopSignal: 66 }, "config.stop_signal is 66: not a known signal"],
  [
    { linux: { securityContext: { runAsUser: id(0n), runAsUsername: "nobody" } } },
    "config.linux.security_context.run_as_username is given together with run_as_user",
  ],
  [
    { linux: { resources: { oomScoreAdj: toInt64(1001n) } } },
    "config.linux.resources.oom_score_adj is 1001: not in -1000..1000",
  ],
  [
    { linux: { resources: { memoryLimitInBytes: toInt64(-5n) } } },
    "config.linux.resources.memory_limit_in_bytes is -5: not in -1..9223372036854775807",
  ],
  [
    { linux: { resources: { cpuQuota: toInt64(-2n) } } },
    "config.linux.resources.cpu_quota is -2: not in 1000..9223372036854775807",
  ],
  [
    { linux: { resources: { cpusetCpus: "0-" } } },
    'config.linux.resources.cpuset_cpus is "0-": not a list such as "0-3,7"',
  ],
  [
    { linux: { resources: { hugepageLimits: [{ pageSize: "2MiB" }] } } },
    'config.linux.resources.hugepage_limits[0].page_size is "2MiB": not a size such as "2MB" or "1GB"',
  ],
  [
    { linux: { resources: { unified: { "../memory.max": "1" } } } },
    'config.linux.resources.unified has the key "../memory.max": not a cgroup v2 file',
  ],
];

for (const [change, message] of refused)
  test(`\`containerConfigFromWire()\` refuses: ${JSON.stringify(message.slice(0, 90))}`, () => {
    assert.equal(
      refusal(() => convert(containerWire(change))),
      message,
    );
  });

const at = "config.linux.security_context";

const refusedSecurity: [v1.LinuxContainerSecurityContextSent, string][] = [
  [{ runAsGroup: id(1n) }, `${at}.run_as_group is given without run_as_user`],
  [{ runAsUsername: "a\nroot::0:0::/:" }, `${at}.run_as_username contains a control character`],
  [{ namespaceOptions: { pid: 3 } }, `${at}.namespace_options.target_id is empty`],
  [{ maskedPaths: ["/proc/kcore", "proc"] }, `${at}.masked_paths[1] is "proc": not an absolute path`],
  [{ readonlyPaths: [""] }, `${at}.readonly_paths[0] is empty`],
  [
    { capabilities: { dropCapabilities: ["NET_ADMIN,ALL"] } },
    `${at}.capabilities.drop_capabilities[0] is "NET_ADMIN,ALL": not a capability name`,
  ],
  [{ apparmorProfile: "localhost/" }, `${at}.apparmor_profile is "localhost/": not a profile`],
  [
    { seccompProfilePath: "localhost/p.json" },
    `${at}.seccomp_profile_path is "p.json": not an absolute path`,
  ],
];

for (const [context, message] of refusedSecurity)
  test(`\`containerConfigFromWire()\` refuses: ${JSON.stringify(message)}`, () => {
    assert.equal(
      refusal(() => convert(containerSecurity(context))),
      message,
    );
  });

test("`containerConfigFromWire()` refuses a log path that leads out of the log directory (CVE-2025-0750)", () => {
  for (const logPath of ["../x.log", "a/../../etc/passwd", "..", "/etc/passwd", "a/..", "dir/", "a/."])
    assert.match(
      refusal(() => convert(containerWire({ logPath }))),
      /^config\.log_path is /,
    );
});

test("`containerConfigFromWire()` reads the profile texts of old clients", () => {
  const { security } = convert(
    containerSecurity({
      seccompProfilePath: "localhost//profiles/a.json",
      apparmorProfile: "runtime/default",
    }),
  );
  assert.deepEqual(security.seccomp, { type: "localhost", ref: "/profiles/a.json" });
  assert.deepEqual(security.apparmor, { type: "runtime-default" });
});
