// Statistics of containers and sandboxes. What is unknown stays absent: 0 would be a measurement.
import { toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type {
  ContainerUsage,
  InterfaceUsage,
  Pressure,
  PressureAverages,
  ResourceUsage,
  SandboxUsage,
} from "../services.ts";

function valueToWire(value: bigint): v1.UInt64ValueSent;
function valueToWire(value: bigint | undefined): v1.UInt64ValueSent | null;
function valueToWire(value: bigint | undefined): v1.UInt64ValueSent | null {
  return value === undefined ? null : { value: toInt64(value) };
}

function averagesToWire(averages: PressureAverages): v1.PsiDataSent {
  return {
    // The kernel counts microseconds, CRI PsiData nanoseconds.
    Total: toInt64(averages.totalMicroseconds * 1000n),
    Avg10: averages.avg10,
    Avg60: averages.avg60,
    Avg300: averages.avg300,
  };
}

function pressureToWire(pressure: Pressure | undefined): v1.PsiStatsSent | null {
  if (pressure === undefined) return null;
  return { Full: averagesToWire(pressure.full), Some: averagesToWire(pressure.some) };
}

interface UsageSent {
  cpu: v1.CpuUsageSent;
  memory: v1.MemoryUsageSent;
  io: v1.IoUsageSent | null;
}

function usageToWire(usage: ResourceUsage): UsageSent {
  const timestamp = toInt64(usage.timestampNs);
  const { cpu, memory, ioPressure } = usage;
  return {
    cpu: {
      timestamp,
      usageCoreNanoSeconds: valueToWire(cpu.usageCoreNs),
      usageNanoCores: valueToWire(cpu.usageNanoCores),
      psi: pressureToWire(cpu.pressure),
    },
    memory: {
      timestamp,
      workingSetBytes: valueToWire(memory.workingSetBytes),
      availableBytes: valueToWire(memory.availableBytes),
      usageBytes: valueToWire(memory.usageBytes),
      rssBytes: valueToWire(memory.rssBytes),
      pageFaults: valueToWire(memory.pageFaults),
      majorPageFaults: valueToWire(memory.majorPageFaults),
      psi: pressureToWire(memory.pressure),
    },
    io: ioPressure === undefined ? null : { timestamp, psi: pressureToWire(ioPressure) },
  };
}

export function containerStatsToWire(stats: ContainerUsage): v1.ContainerStatsSent {
  const { record } = stats.container;
  const { usage, writableLayer } = stats;
  const sent: v1.ContainerStatsSent = {
    attributes: {
      id: record.id,
      metadata: record.config.metadata,
      labels: record.config.labels,
      annotations: record.config.annotations,
    },
    ...(usage === undefined ? {} : usageToWire(usage)),
  };
  if (usage?.swap !== undefined)
    sent.swap = {
      timestamp: toInt64(usage.timestampNs),
      swapAvailableBytes: valueToWire(usage.swap.availableBytes),
      swapUsageBytes: valueToWire(usage.swap.usageBytes),
    };
  if (writableLayer !== undefined)
    sent.writableLayer = {
      timestamp: toInt64(writableLayer.timestampNs),
      fsId: { mountpoint: writableLayer.mountpoint },
      usedBytes: valueToWire(writableLayer.usedBytes),
      inodesUsed: valueToWire(writableLayer.inodesUsed),
    };
  return sent;
}

export function sandboxStatsToWire(stats: SandboxUsage): v1.PodSandboxStatsSent {
  const { record } = stats.sandbox;
  const { usage, network, processCount } = stats;
  const linux: v1.LinuxPodSandboxStatsSent = {
    ...(usage === undefined ? {} : usageToWire(usage)),
    containers: stats.containers.map(containerStatsToWire),
  };
  if (network !== undefined) {
    const [first, ...others] = network.interfaces.map(interfaceToWire);
    linux.network = {
      timestamp: toInt64(network.timestampNs),
      defaultInterface: first ?? null,
      interfaces: others,
    };
  }
  if (processCount !== undefined)
    linux.process = {
      timestamp: toInt64(usage?.timestampNs ?? 0n),
      processCount: valueToWire(processCount),
    };
  const { metadata, labels, annotations } = record.config;
  return { attributes: { id: record.id, metadata, labels, annotations }, linux };
}

function interfaceToWire(usage: InterfaceUsage): v1.NetworkInterfaceUsageSent {
  return {
    name: usage.name,
    rxBytes: valueToWire(usage.rxBytes),
    rxErrors: valueToWire(usage.rxErrors),
    txBytes: valueToWire(usage.txBytes),
    txErrors: valueToWire(usage.txErrors),
  };
}
