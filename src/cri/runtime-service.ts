// runtime.v1.RuntimeService: which file answers which RPC.
import type { runtimeService } from "../../cri-api/services.ts";
import { attach } from "./rpc/attach.ts";
import { sendEach, type EncodedList } from "./encoded-list.ts";
import { checkpointContainer } from "./rpc/checkpoint-container.ts";
import { containerStats } from "./rpc/container-stats.ts";
import { containerStatus } from "./rpc/container-status.ts";
import { createContainer } from "./rpc/create-container.ts";
import { exec } from "./rpc/exec.ts";
import { execSync } from "./rpc/exec-sync.ts";
import { getContainerEvents } from "./rpc/get-container-events.ts";
import { listContainerStats } from "./rpc/list-container-stats.ts";
import { containerList, listContainers } from "./rpc/list-containers.ts";
import { listMetricDescriptors } from "./rpc/list-metric-descriptors.ts";
import { listPodSandboxMetrics } from "./rpc/list-pod-sandbox-metrics.ts";
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
import { streamContainerStats } from "./rpc/stream-container-stats.ts";
import { streamContainers } from "./rpc/stream-containers.ts";
import { streamPodSandboxMetrics } from "./rpc/stream-pod-sandbox-metrics.ts";
import { streamPodSandboxStats } from "./rpc/stream-pod-sandbox-stats.ts";
import { streamPodSandboxes } from "./rpc/stream-pod-sandboxes.ts";
import { updatePodSandboxResources } from "./rpc/update-pod-sandbox-resources.ts";
import { updateContainerResources } from "./rpc/update-container-resources.ts";
import { updateRuntimeConfig } from "./rpc/update-runtime-config.ts";
import { version } from "./rpc/version.ts";
import type { Handlers } from "./server.ts";
import type { ContainerView, SandboxView, UseCases } from "./services.ts";

/** A text in the place of a handler is what the client reads after "<RPC> is not implemented yet: ". */
export function runtimeHandlers(useCases: UseCases): Handlers<typeof runtimeService> {
  const lists = { ofSandboxes: sandboxList(), ofContainers: containerList() };
  return {
    ...nodeHandlers(useCases),
    ...sandboxHandlers(useCases, lists.ofSandboxes),
    ...containerHandlers(useCases, lists.ofContainers),
    ...streamingHandlers(useCases),
    ...listStreamHandlers(useCases, lists),
    ...eventHandlers(useCases),
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

function sandboxHandlers({ sandboxes, containers, events, stats }: UseCases, list: EncodedList<SandboxView>) {
  return {
    RunPodSandbox: (request) => runPodSandbox(sandboxes, request),
    StopPodSandbox: (request) => stopPodSandbox(sandboxes, request),
    RemovePodSandbox: (request) => removePodSandbox(sandboxes, request),
    PodSandboxStatus: (request) => podSandboxStatus({ sandboxes, containers, events }, request),
    ListPodSandbox: (request) => listPodSandbox(sandboxes, list, request),
    PodSandboxStats: (request) => podSandboxStats({ sandboxes, stats }, request),
    ListPodSandboxStats: (request) => listPodSandboxStats({ sandboxes, stats }, request),
    ListMetricDescriptors: () => listMetricDescriptors(stats),
    ListPodSandboxMetrics: () => listPodSandboxMetrics({ sandboxes, stats }),
    UpdatePodSandboxResources: (request) => updatePodSandboxResources(sandboxes, request),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

function streamingHandlers({ streaming }: UseCases) {
  return {
    Exec: (request) => exec(streaming, request),
    Attach: (request) => attach(streaming, request),
    PortForward: (request) => portForward(streaming, request),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

function containerHandlers({ containers, stats }: UseCases, list: EncodedList<ContainerView>) {
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
    CheckpointContainer: (request) => checkpointContainer(containers, request),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

/** What was encoded for one call serves the other. */
interface EncodedLists {
  ofSandboxes: EncodedList<SandboxView>;
  ofContainers: EncodedList<ContainerView>;
}

/** The lists once more, in messages of bounded size: for nodes whose list outgrows what a client takes in one. */
function listStreamHandlers({ sandboxes, containers, stats }: UseCases, lists: EncodedLists) {
  const { ofSandboxes, ofContainers } = lists;
  return {
    StreamPodSandboxes: (request) => sendEach(streamPodSandboxes(sandboxes, ofSandboxes, request)),
    StreamContainers: (request) => sendEach(streamContainers(containers, ofContainers, request)),
    StreamContainerStats: (request) => sendEach(streamContainerStats({ containers, stats }, request)),
    StreamPodSandboxStats: (request) => sendEach(streamPodSandboxStats({ sandboxes, stats }, request)),
    StreamPodSandboxMetrics: () => sendEach(streamPodSandboxMetrics({ sandboxes, stats })),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}

function eventHandlers({ events, containers }: UseCases) {
  return {
    GetContainerEvents: (_request, call) => getContainerEvents({ events, containers }, call),
  } satisfies Partial<Handlers<typeof runtimeService>>;
}
