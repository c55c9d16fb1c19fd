// runtime.v1.RuntimeService: which file answers which RPC.
import type { runtimeService } from "../../cri-api/services.ts";
import { attach } from "./rpc/attach.ts";
import { containerStats } from "./rpc/container-stats.ts";
import { containerStatus } from "./rpc/container-status.ts";
import { createContainer } from "./rpc/create-container.ts";
import { exec } from "./rpc/exec.ts";
import { execSync } from "./rpc/exec-sync.ts";
import { listContainerStats } from "./rpc/list-container-stats.ts";
import { containerList, listContainers } from "./rpc/list-containers.ts";
import { listPodSandbox, sandboxList } from "./rpc/list-pod-sandbox.ts";
import { listPodSandboxStats } from "./rpc/list-pod-sandbox-stats.ts";
import { portForward } from "./rpc/port-forward.ts";
import { podSandboxStats } from "./rpc/pod-sandbox-stats.ts";
import { podSandboxStatus } from "./rpc/pod-sandbox-status.ts";
import { removeContainer } from "./rpc/remove-container.ts";
import { removePodSandbox } from "./rpc/remove-pod-sandbox.ts";
import { reopenContainerLog } from "./rpc/reopen-container-log.ts";
import { runPodSandbox } from "./rpc/run-pod-sandbox.ts";
import { runtimeConfig } from "./rpc/runtime-config.ts";
import { startContainer } from "./rpc/start-container.ts";
import { status } from "./rpc/status.ts";
import { stopContainer } from "./rpc/stop-container.ts";
import { stopPodSandbox } from "./rpc/stop-pod-sandbox.ts";
import { updateContainerResources } from "./rpc/update-container-resources.ts";
import { updateRuntimeConfig } from "./rpc/update-runtime-config.ts";
import { version } from "./rpc/version.ts";
import type { Handlers } from "./server.ts";
import type { UseCases } from "./services.ts";

/** A text in the place of a handler is what the client reads after "<RPC> is not implemented yet: ". */
export function runtimeHandlers(useCases: UseCases): Handlers<typeof runtimeService> {
  return {
    ...nodeHandlers(useCases),
    ...sandboxHandlers(useCases),
    ...containerHandlers(useCases),
    ...streamingHandlers(useCases),
    ...missing,
  };
}

function nodeHandlers({ node }: UseCases) {
  return {
    Version: () => version(node),
    Status: (request) => status(node, request),
    RuntimeConfig: () => runtimeConfig(node),
    UpdateRuntimeConfig: (request) => updateRuntimeConfig(node, request),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

function sandboxHandlers({ sandboxes, stats }: UseCases) {
  const list = sandboxList();
  return {
    RunPodSandbox: (request) => runPodSandbox(sandboxes, request),
    StopPodSandbox: (request) => stopPodSandbox(sandboxes, request),
    RemovePodSandbox: (request) => removePodSandbox(sandboxes, request),
    PodSandboxStatus: (request) => podSandboxStatus(sandboxes, request),
    ListPodSandbox: (request) => listPodSandbox(sandboxes, list, request),
    PodSandboxStats: (request) => podSandboxStats({ sandboxes, stats }, request),
    ListPodSandboxStats: (request) => listPodSandboxStats({ sandboxes, stats }, request),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

function streamingHandlers({ streaming }: UseCases) {
  return {
    Exec: (request) => exec(streaming, request),
    Attach: (request) => attach(streaming, request),
    PortForward: (request) => portForward(streaming, request),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

function containerHandlers({ containers, stats }: UseCases) {
  const list = containerList();
  return {
    CreateContainer: (request) => createContainer(containers, request),
    StartContainer: (request) => startContainer(containers, request),
    StopContainer: (request) => stopContainer(containers, request),
    RemoveContainer: (request) => removeContainer(containers, request),
    ListContainers: (request) => listContainers(containers, list, request),
    ContainerStatus: (request) => containerStatus(containers, request),
    UpdateContainerResources: (request) => updateContainerResources(containers, request),
    ReopenContainerLog: (request) => reopenContainerLog(containers, request),
    ExecSync: (request, call) => execSync(containers, request, call),
    ContainerStats: (request) => containerStats({ containers, stats }, request),
    ListContainerStats: (request) => listContainerStats({ containers, stats }, request),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

const useUnaryList = "use the call that answers once";

const missing = {
  StreamPodSandboxes: useUnaryList,
  StreamContainers: useUnaryList,
  StreamContainerStats: useUnaryList,
  StreamPodSandboxStats: useUnaryList,
  CheckpointContainer: "containers cannot be checkpointed",
  GetContainerEvents: "poll ListPodSandbox and ListContainers",
  ListMetricDescriptors: "use ListPodSandboxStats",
  ListPodSandboxMetrics: "use ListPodSandboxStats",
  StreamPodSandboxMetrics: "use ListPodSandboxStats",
  UpdatePodSandboxResources: "the cgroup of a pod belongs to the kubelet",
} satisfies Partial<Handlers<typeof runtimeService>>;
