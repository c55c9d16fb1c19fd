// The services of the socket as gRPC sees them: paths, and how messages become bytes.
import { v1 as cricket } from "./cricket/v1/api.js";
import { v1, type MessageType } from "./runtime/v1/api.js";

/** One RPC; the four type parameters are its messages as they are given to the encoder and as the decoder yields them. */
export interface Rpc<RequestSent, Request, ResponseSent, Response, Streaming extends boolean> {
  readonly path: string;
  readonly requestStream: false;
  readonly responseStream: Streaming;
  readonly requestSerialize: (request: RequestSent) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (response: ResponseSent) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/** A message that its sender has encoded already. */
export class EncodedMessage {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/** Any RPC, for code that does not look into messages. */
export type AnyRpc = Rpc<never, unknown, never, unknown, boolean>;

/** The message a handler receives. */
export type RequestOf<R> =
  R extends Rpc<infer _S, infer Request, infer _T, infer _U, boolean> ? Request : never;
/** What a client passes. */
export type RequestSentOf<R> =
  R extends Rpc<infer Sent, infer _R, infer _S, infer _T, boolean> ? Sent : never;
/** The message a client receives. */
export type ResponseOf<R> =
  R extends Rpc<infer _R, infer _S, infer _T, infer Response, boolean> ? Response : never;
/** What a handler answers. */
export type ResponseSentOf<R> =
  R extends Rpc<infer _R, infer _S, infer Sent, infer _T, boolean> ? Sent : never;

/** Names of the RPCs of a service that answer once. */
export type UnaryName<Service> = {
  [Name in keyof Service]: Service[Name] extends { readonly responseStream: false } ? Name : never;
}[keyof Service] &
  string;
/** Names of the RPCs of a service that answer with a stream. */
export type StreamName<Service> = Exclude<keyof Service & string, UnaryName<Service>>;

const runtimeRpc = rpcOf("runtime.v1.RuntimeService");
const imageRpc = rpcOf("runtime.v1.ImageService");
const cricketRpc = rpcOf("cricket.v1.Cricket");

export const runtimeService = {
  Version: runtimeRpc.unary("Version", v1.VersionRequest, v1.VersionResponse),
  RunPodSandbox: runtimeRpc.unary("RunPodSandbox", v1.RunPodSandboxRequest, v1.RunPodSandboxResponse),
  StopPodSandbox: runtimeRpc.unary("StopPodSandbox", v1.StopPodSandboxRequest, v1.StopPodSandboxResponse),
  RemovePodSandbox: runtimeRpc.unary(
    "RemovePodSandbox",
    v1.RemovePodSandboxRequest,
    v1.RemovePodSandboxResponse,
  ),
  PodSandboxStatus: runtimeRpc.unary(
    "PodSandboxStatus",
    v1.PodSandboxStatusRequest,
    v1.PodSandboxStatusResponse,
  ),
  ListPodSandbox: runtimeRpc.unary("ListPodSandbox", v1.ListPodSandboxRequest, v1.ListPodSandboxResponse),
  StreamPodSandboxes: runtimeRpc.stream(
    "StreamPodSandboxes",
    v1.StreamPodSandboxesRequest,
    v1.StreamPodSandboxesResponse,
  ),
  CreateContainer: runtimeRpc.unary("CreateContainer", v1.CreateContainerRequest, v1.CreateContainerResponse),
  StartContainer: runtimeRpc.unary("StartContainer", v1.StartContainerRequest, v1.StartContainerResponse),
  StopContainer: runtimeRpc.unary("StopContainer", v1.StopContainerRequest, v1.StopContainerResponse),
  RemoveContainer: runtimeRpc.unary("RemoveContainer", v1.RemoveContainerRequest, v1.RemoveContainerResponse),
  ListContainers: runtimeRpc.unary("ListContainers", v1.ListContainersRequest, v1.ListContainersResponse),
  StreamContainers: runtimeRpc.stream(
    "StreamContainers",
    v1.StreamContainersRequest,
    v1.StreamContainersResponse,
  ),
  ContainerStatus: runtimeRpc.unary("ContainerStatus", v1.ContainerStatusRequest, v1.ContainerStatusResponse),
  UpdateContainerResources: runtimeRpc.unary(
    "UpdateContainerResources",
    v1.UpdateContainerResourcesRequest,
    v1.UpdateContainerResourcesResponse,
  ),
  ReopenContainerLog: runtimeRpc.unary(
    "ReopenContainerLog",
    v1.ReopenContainerLogRequest,
    v1.ReopenContainerLogResponse,
  ),
  ExecSync: runtimeRpc.unary("ExecSync", v1.ExecSyncRequest, v1.ExecSyncResponse),
  Exec: runtimeRpc.unary("Exec", v1.ExecRequest, v1.ExecResponse),
  Attach: runtimeRpc.unary("Attach", v1.AttachRequest, v1.AttachResponse),
  PortForward: runtimeRpc.unary("PortForward", v1.PortForwardRequest, v1.PortForwardResponse),
  ContainerStats: runtimeRpc.unary("ContainerStats", v1.ContainerStatsRequest, v1.ContainerStatsResponse),
  ListContainerStats: runtimeRpc.unary(
    "ListContainerStats",
    v1.ListContainerStatsRequest,
    v1.ListContainerStatsResponse,
  ),
  StreamContainerStats: runtimeRpc.stream(
    "StreamContainerStats",
    v1.StreamContainerStatsRequest,
    v1.StreamContainerStatsResponse,
  ),
  PodSandboxStats: runtimeRpc.unary("PodSandboxStats", v1.PodSandboxStatsRequest, v1.PodSandboxStatsResponse),
  ListPodSandboxStats: runtimeRpc.unary(
    "ListPodSandboxStats",
    v1.ListPodSandboxStatsRequest,
    v1.ListPodSandboxStatsResponse,
  ),
  StreamPodSandboxStats: runtimeRpc.stream(
    "StreamPodSandboxStats",
    v1.StreamPodSandboxStatsRequest,
    v1.StreamPodSandboxStatsResponse,
  ),
  UpdateRuntimeConfig: runtimeRpc.unary(
    "UpdateRuntimeConfig",
    v1.UpdateRuntimeConfigRequest,
    v1.UpdateRuntimeConfigResponse,
  ),
  Status: runtimeRpc.unary("Status", v1.StatusRequest, v1.StatusResponse),
  CheckpointContainer: runtimeRpc.unary(
    "CheckpointContainer",
    v1.CheckpointContainerRequest,
    v1.CheckpointContainerResponse,
  ),
  GetContainerEvents: runtimeRpc.stream("GetContainerEvents", v1.GetEventsRequest, v1.ContainerEventResponse),
  ListMetricDescriptors: runtimeRpc.unary(
    "ListMetricDescriptors",
    v1.ListMetricDescriptorsRequest,
    v1.ListMetricDescriptorsResponse,
  ),
  ListPodSandboxMetrics: runtimeRpc.unary(
    "ListPodSandboxMetrics",
    v1.ListPodSandboxMetricsRequest,
    v1.ListPodSandboxMetricsResponse,
  ),
  StreamPodSandboxMetrics: runtimeRpc.stream(
    "StreamPodSandboxMetrics",
    v1.StreamPodSandboxMetricsRequest,
    v1.StreamPodSandboxMetricsResponse,
  ),
  RuntimeConfig: runtimeRpc.unary("RuntimeConfig", v1.RuntimeConfigRequest, v1.RuntimeConfigResponse),
  UpdatePodSandboxResources: runtimeRpc.unary(
    "UpdatePodSandboxResources",
    v1.UpdatePodSandboxResourcesRequest,
    v1.UpdatePodSandboxResourcesResponse,
  ),
} as const;

export const imageService = {
  ListImages: imageRpc.unary("ListImages", v1.ListImagesRequest, v1.ListImagesResponse),
  StreamImages: imageRpc.stream("StreamImages", v1.StreamImagesRequest, v1.StreamImagesResponse),
  ImageStatus: imageRpc.unary("ImageStatus", v1.ImageStatusRequest, v1.ImageStatusResponse),
  PullImage: imageRpc.unary("PullImage", v1.PullImageRequest, v1.PullImageResponse),
  RemoveImage: imageRpc.unary("RemoveImage", v1.RemoveImageRequest, v1.RemoveImageResponse),
  ImageFsInfo: imageRpc.unary("ImageFsInfo", v1.ImageFsInfoRequest, v1.ImageFsInfoResponse),
} as const;

/** What cricket's own command line needs beyond the CRI. */
export const cricketService = {
  PullImage: cricketRpc.stream("PullImage", cricket.PullImageRequest, cricket.PullImageProgress),
  WaitContainer: cricketRpc.unary(
    "WaitContainer",
    cricket.WaitContainerRequest,
    cricket.WaitContainerResponse,
  ),
  StartAttached: cricketRpc.unary(
    "StartAttached",
    cricket.StartAttachedRequest,
    cricket.StartAttachedResponse,
  ),
  ExplainContainer: cricketRpc.unary(
    "ExplainContainer",
    cricket.ExplainContainerRequest,
    cricket.ExplainContainerResponse,
  ),
} as const;

function rpcOf(service: string) {
  return {
    unary: <QS, Q, AS, A>(name: string, request: MessageType<QS, Q>, response: MessageType<AS, A>) =>
      makeRpc(`/${service}/${name}`, request, response, false as const),
    stream: <QS, Q, AS, A>(name: string, request: MessageType<QS, Q>, response: MessageType<AS, A>) =>
      makeRpc(`/${service}/${name}`, request, response, true as const),
  };
}

function makeRpc<QS, Q, AS, A, Streaming extends boolean>(
  path: string,
  request: MessageType<QS, Q>,
  response: MessageType<AS, A>,
  responseStream: Streaming,
): Rpc<QS, Q, AS | EncodedMessage, A, Streaming> {
  return {
    path,
    requestStream: false,
    responseStream,
    requestSerialize: (message) => asBuffer(request.encode(message).finish()),
    requestDeserialize: (bytes) => request.decode(bytes),
    responseSerialize: (message) =>
      message instanceof EncodedMessage ? message.bytes : asBuffer(response.encode(message).finish()),
    responseDeserialize: (bytes) => response.decode(bytes),
  };
}

// On Node the encoder's result is a Buffer; its type says only Uint8Array.
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
