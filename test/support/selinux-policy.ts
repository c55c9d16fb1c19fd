// A small SELinux policy for the guest's kernel: enough to see labels set, kept apart and enforced. What it does not
// name is allowed (the kernel's handle_unknown), so it says only what a test looks at.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** The kernel's initial SIDs; the order is their numbers. */
const initialSids = (
  "kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket " +
  "tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev kmod " +
  "policy scmp_packet devnull"
).split(" ");

const filePermissions = "read write create entrypoint execute relabelfrom relabelto append";
const classes: Record<string, string> = {
  process: "transition dyntransition",
  file: filePermissions,
  dir: "read write create add_name search relabelfrom relabelto",
  lnk_file: "read create relabelfrom relabelto",
  key: "create search setattr view",
};

const types = ["kernel_t", "container_t", "container_file_t", "container_ro_file_t", "spc_t", "host_t"];
const context = (type: string): string => `system_u:object_r:${type}:s0`;

/**
 * kernel_t may do all; container_t may do nothing to files but those of container_file_t, and of these only to such as
 * have its categories.
 */
function policyText(): string {
  const names = Object.keys(classes);
  const categories = Array.from({ length: 1024 }, (_unused, index) => `category c${index};`);
  const allow = (source: string, target: string): string[] =>
    names.map((name) => `allow ${source} ${target}:${name} { ${classes[name]} };`);
  return [
    ...names.map((name) => `class ${name}`),
    ...initialSids.map((sid) => `sid ${sid}`),
    ...names.map((name) => `class ${name} { ${classes[name]} }`),
    "sensitivity s0;",
    "dominance { s0 }",
    ...categories,
    "level s0:c0.c1023;",
    "mlsconstrain { file dir } { read write } (h1 dom h2 or t1 != container_t);",
    "policycap nnp_nosuid_transition;",
    ...types.map((type) => `type ${type};`),
    ...types.flatMap((type) => allow("kernel_t", type)),
    ...allow("container_t", "container_file_t"),
    ...allow("spc_t", "container_file_t"),
    "allow { container_t spc_t } container_ro_file_t:file { read execute };",
    // Of /proc, beside what belongs to processes: /proc/self is a link.
    "allow { container_t spc_t } host_t:dir { read search };",
    "allow { container_t spc_t } host_t:lnk_file read;",
    `allow container_t { container_t kernel_t }:{ ${names.join(" ")} } *;`,
    "role system_r;",
    ...["kernel_t", "container_t", "spc_t"].map((type) => `role system_r types ${type};`),
    "user system_u roles { system_r } level s0 range s0 - s0:c0.c1023;",
    "sid kernel system_u:system_r:kernel_t:s0 - s0:c0.c1023",
    // "file" is what has no label on disk: image layers. Memory mappings are judged by the file of the layer, not by that
    // of the overlay.
    ...initialSids
      .slice(1)
      .map((sid) => `sid ${sid} ${context(sid === "file" ? "container_ro_file_t" : "host_t")}`),
    ...["ext4", "overlay"].map((name) => `fs_use_xattr ${name} ${context("host_t")};`),
    ...["tmpfs", "devpts", "mqueue", "devtmpfs"].map((name) => `fs_use_trans ${name} ${context("host_t")};`),
    ...["pipefs", "sockfs"].map((name) => `fs_use_task ${name} ${context("host_t")};`),
    ...["hostfs", "proc", "sysfs", "cgroup2", "cgroup"].map(
      (name) => `genfscon ${name} / ${context("host_t")}`,
    ),
    "",
  ].join("\n");
}

/** Compiles the policy, loads it and enforces it: for a guest, which has no other and goes with the test. */
export function enforceTestPolicy(directory: string): void {
  const [source, binary] = [path.join(directory, "policy.conf"), path.join(directory, "policy")];
  fs.writeFileSync(source, policyText());
  const version = fs.readFileSync("/sys/fs/selinux/policyvers", "utf8").trim();
  const args = ["-M", "-U", "allow", "-c", version, "-o", binary, source];
  const compiled = spawnSync("/usr/bin/checkpolicy", args, { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(`checkpolicy: ${compiled.stderr || compiled.stdout}`);
  // In one write: the kernel takes no pieces.
  fs.writeFileSync("/sys/fs/selinux/load", fs.readFileSync(binary));
  fs.writeFileSync("/sys/fs/selinux/enforce", "1");
}
