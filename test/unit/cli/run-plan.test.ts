import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCommandLine, UsageError, type Command } from "../../../src/cli/command.ts";
import { run } from "../../../src/cli/run.ts";
import {
  parseCpus,
  parseEnv,
  parsePort,
  parseSize,
  parseUser,
  parseVolume,
  planRun,
  type RunPlan,
} from "../../../src/cli/run-plan.ts";
import { fromInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";

function plan(...argv: string[]): RunPlan {
  const { options, operands } = parseCommandLine(run as unknown as Command, argv);
  return planRun(options as never, operands, { env: { HOME: "/root" }, workingDirectory: "/here" });
}

test("`planRun()` makes a pod and a container of the same name, with the arguments as they are", () => {
  const { sandbox, container, image, keep } = plan("--name", "web", "busybox", "ls", "-l");
  assert.equal(image, "busybox");
  assert.equal(sandbox.metadata?.name, "web");
  assert.equal(sandbox.hostname, "web");
  assert.equal(container.metadata?.name, "web");
  assert.deepEqual(container.command, []);
  assert.deepEqual(container.args, ["ls", "-l"]);
  assert.equal(container.logPath, "web.log");
  assert.equal(keep, false);
});

test("`planRun()` makes up different names and uids", () => {
  const [one, two] = [plan("x"), plan("x")];
  assert.notEqual(one.sandbox.metadata?.name, two.sandbox.metadata?.name);
  assert.notEqual(one.sandbox.metadata?.uid, two.sandbox.metadata?.uid);
});

test("`planRun()` puts pod and container on the network of the host alike", () => {
  const { sandbox, container } = plan("--host-network", "x");
  const { NODE } = v1.NamespaceMode;
  assert.equal(sandbox.linux?.securityContext?.namespaceOptions?.network, NODE);
  assert.equal(container.linux?.securityContext?.namespaceOptions?.network, NODE);
  assert.equal(sandbox.hostname, "");
});

test("`planRun()` gives the default seccomp profile, and none when privileged", () => {
  assert.deepEqual(plan("x").container.linux?.securityContext?.seccomp, { profileType: 0 });
  const { sandbox, container } = plan("--privileged", "x");
  assert.equal(container.linux?.securityContext?.seccomp, undefined);
  assert.equal(sandbox.linux?.securityContext?.privileged, true);
});

test("`planRun()` refuses contradictions and unknown policies", () => {
  assert.throws(() => plan("--rm", "--keep", "x"), UsageError);
  assert.throws(() => plan("--pull", "sometimes", "x"), UsageError);
  assert.throws(() => plan(""), UsageError);
  for (const name of ["", "a/b", "..", "a b", "x".repeat(64)])
    assert.throws(() => plan("--name", name, "x"), UsageError, name);
});

test("`planRun()` keeps the pod of a detached container", () => {
  assert.equal(plan("-d", "x").keep, true);
});

test("`parseEnv()` takes a value, an empty value, the caller's own, or none", () => {
  const env = { HOME: "/root" };
  assert.deepEqual(parseEnv("A=b=c", env), [{ key: "A", value: Buffer.from("b=c") }]);
  assert.deepEqual(parseEnv("A=", env), [{ key: "A", value: Buffer.from("") }]);
  assert.deepEqual(parseEnv("HOME", env), [{ key: "HOME", value: Buffer.from("/root") }]);
  assert.deepEqual(parseEnv("NONE", env), []);
  assert.throws(() => parseEnv("=x", env), UsageError);
});

test("`parseVolume()` reads paths and options", () => {
  assert.deepEqual(parseVolume("data:/data", "/here"), { hostPath: "/here/data", containerPath: "/data" });
  assert.deepEqual(parseVolume("/a:/b:ro,rslave", "/"), {
    hostPath: "/a",
    containerPath: "/b",
    readonly: true,
    propagation: 1,
  });
  for (const text of ["", "/a", "/a:b", ":/b", "/a:/b:xx", "/a:/b:ro:ro"])
    assert.throws(() => parseVolume(text, "/"), UsageError, text);
});

test("`parsePort()` reads addresses, ports and protocols", () => {
  assert.deepEqual(parsePort("8080:80"), { hostIp: "", hostPort: 8080, containerPort: 80, protocol: 0 });
  assert.deepEqual(parsePort("[::1]:53:5353/udp"), {
    hostIp: "::1",
    hostPort: 53,
    containerPort: 5353,
    protocol: 1,
  });
  for (const text of ["", "80", "0:80", "80:65536", "80:80/icmp", "a:b"])
    assert.throws(() => parsePort(text), UsageError, text);
});

test("`parseUser()` reads ids and names", () => {
  const user = parseUser("1000:7");
  assert.equal(fromInt64(user.runAsUser?.value), 1000n);
  assert.equal(fromInt64(user.runAsGroup?.value), 7n);
  assert.deepEqual(parseUser("nobody"), { runAsUsername: "nobody" });
  for (const text of ["", ":1", "a:b", "1:2:3"]) assert.throws(() => parseUser(text), UsageError, text);
});

test("`parseSize()` reads binary units", () => {
  assert.deepEqual(["512", "64m", "64M", "1.5g", "1GiB", "10kb"].map(parseSize), [
    512n,
    67_108_864n,
    67_108_864n,
    1_610_612_736n,
    1_073_741_824n,
    10_240n,
  ]);
  for (const text of ["", "0", "-1m", "m", "1x", "1e3"])
    assert.throws(() => parseSize(text), UsageError, text);
});

test("`parseCpus()` makes a quota of 100 ms periods", () => {
  const { cpuQuota, cpuPeriod, cpuShares } = parseCpus("0.5");
  assert.deepEqual([cpuQuota, cpuPeriod, cpuShares].map(fromInt64), [50_000n, 100_000n, 512n]);
  for (const text of ["", "0", "-1", "x", "1e2"]) assert.throws(() => parseCpus(text), UsageError, text);
});
