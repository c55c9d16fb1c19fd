// Mounts, both ways.
import { invalidArgument } from "../../base/errors.ts";
import type { ContainerMount } from "../../container/container-config.ts";
import type { ImageVolume } from "../../container/image-volumes.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import { absolutePath, enumChoice, nonEmpty, optionalInnerPath } from "./field.ts";
import { idMappings } from "./namespaces.ts";

type Propagation = ContainerMount["propagation"];

const propagations = {
  PROPAGATION_PRIVATE: "private",
  PROPAGATION_HOST_TO_CONTAINER: "host-to-container",
  PROPAGATION_BIDIRECTIONAL: "bidirectional",
} as const;

const propagationNumbers: Record<Propagation, number> = {
  private: v1.MountPropagation.PROPAGATION_PRIVATE,
  "host-to-container": v1.MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  bidirectional: v1.MountPropagation.PROPAGATION_BIDIRECTIONAL,
};

export function mountFromWire(wire: v1.Mount, at: string): ContainerMount {
  const mount: ContainerMount = {
    containerPath: absolutePath(wire.containerPath, `${at}.container_path`),
    hostPath: "",
    readonly: wire.readonly,
    recursiveReadOnly: wire.recursiveReadOnly,
    propagation: enumChoice<Propagation>(
      wire.propagation,
      v1.MountPropagation,
      propagations,
      `${at}.propagation`,
    ),
    selinuxRelabel: wire.selinuxRelabel,
    uidMappings: idMappings(wire.uidMappings, `${at}.uidMappings`),
    gidMappings: idMappings(wire.gidMappings, `${at}.gidMappings`),
  };
  assertRecursiveReadOnly(mount, at);
  const isImage = wire.image !== null && wire.image !== undefined && wire.image.image !== "";
  if (isImage) return { ...mount, image: imageSource(wire, at) };
  // image_sub_path is not looked at: in a pod with an image volume the kubelet gives it with the subPath of each other
  // volume as well, whose host_path has that part already.
  return { ...mount, hostPath: absolutePath(wire.hostPath, `${at}.host_path`) };
}

// KEP-3857: recursive read-only needs a read-only mount, and propagation would bring in writable mounts later.
function assertRecursiveReadOnly(mount: ContainerMount, at: string): void {
  if (!mount.recursiveReadOnly) return;
  if (!mount.readonly) throw invalidArgument(`${at}.recursive_read_only needs readonly`);
  if (mount.propagation !== "private")
    throw invalidArgument(`${at}.recursive_read_only needs propagation PROPAGATION_PRIVATE`);
}

// KEP-4639: an image is a read-only source of its own.
function imageSource(wire: v1.Mount, at: string): NonNullable<ContainerMount["image"]> {
  if (wire.hostPath !== "") throw invalidArgument(`${at}.host_path is given together with image`);
  if (!wire.readonly) throw invalidArgument(`${at}.readonly is false: images are mounted read-only`);
  return {
    reference: nonEmpty(wire.image?.image ?? "", `${at}.image.image`),
    userSpecified: wire.image?.userSpecifiedImage ?? "",
    subPath: optionalInnerPath(wire.imageSubPath, `${at}.image_sub_path`),
  };
}

export function mountToWire(mount: ContainerMount, volumes: readonly ImageVolume[] = []): v1.MountSent {
  const imageRef = volumes.find(({ containerPath }) => containerPath === mount.containerPath)?.imageId ?? "";
  return {
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    propagation: propagationNumbers[mount.propagation],
    selinuxRelabel: mount.selinuxRelabel,
    uidMappings: mount.uidMappings,
    gidMappings: mount.gidMappings,
    ...(mount.image === undefined
      ? {}
      : {
          image: { image: mount.image.reference, userSpecifiedImage: mount.image.userSpecified, imageRef },
          imageSubPath: mount.image.subPath,
        }),
  };
}
