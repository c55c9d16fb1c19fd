import assert from "node:assert/strict";
import { test } from "node:test";
import { checkInterface, compareInterface } from "../../../cri-api/check-interface.ts";
import { cricketService, imageService, runtimeService } from "../../../cri-api/services.ts";

test("`checkInterface()` finds api.proto and the table of facts in agreement", () => {
  assert.deepEqual(checkInterface(), []);
});

const table = [
  "kind\tparent\tname\tnumber\ttype\tlabel\tnote",
  "rpc\tS\tGet\t\tA -> stream B\t\t",
  "field\tA\tnames\t1\tstring\trepeated\t",
  "field\tA\tlabels\t2\tmap<string,string>\t\t",
  "field\tA\told\t3\tint64\t\tdeprecated",
  "value\tA.Kind\tFIRST\t0\tenum\t\t",
  "message\tB\t\t\t\t\tempty",
].join("\n");

const proto = `syntax = "proto3";
package p.v1;
service S { rpc Get(A) returns (stream B) {} }
message A {
  enum Kind { FIRST = 0; }
  repeated string names = 1;
  map<string, string> labels = 2;
  int64 old = 3 [deprecated = true];
}
message B {}`;

test("`compareInterface()` accepts a proto that has exactly the facts of the table", () => {
  assert.deepEqual(compareInterface(proto, table), []);
});

test("`compareInterface()` names a wrong number, type, label, note, stream and name", () => {
  for (const [right, wrong] of [
    ["names = 1", "names = 4"],
    ["int64 old", "int32 old"],
    ["repeated string", "string"],
    [" [deprecated = true]", ""],
    ["stream B", "B"],
    ["FIRST", "Other"],
    ["message B {}", "message B { string x = 1; }"],
  ] as const) {
    const differences = compareInterface(proto.replace(right, wrong), table);
    assert.ok(
      differences.some((line) => line.startsWith("not in the proto: ")),
      wrong,
    );
    assert.ok(
      differences.some((line) => line.startsWith("not in the table: ")),
      wrong,
    );
  }
});

test("the service definitions have the RPCs of the proto, with paths and streams", () => {
  const rpcs = { ...runtimeService, ...imageService };
  assert.equal(Object.keys(rpcs).length, 41);
  assert.equal(runtimeService.RunPodSandbox.path, "/runtime.v1.RuntimeService/RunPodSandbox");
  assert.equal(imageService.PullImage.path, "/runtime.v1.ImageService/PullImage");
  assert.equal(cricketService.PullImage.path, "/cricket.v1.Cricket/PullImage");
  const streams = Object.entries(rpcs).filter(([, rpc]) => rpc.responseStream);
  assert.deepEqual(streams.map(([name]) => name).sort(), [
    "GetContainerEvents",
    "StreamContainerStats",
    "StreamContainers",
    "StreamImages",
    "StreamPodSandboxMetrics",
    "StreamPodSandboxStats",
    "StreamPodSandboxes",
  ]);
});
