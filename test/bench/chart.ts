// The benchmark's result as text for the terminal and as an SVG chart of the medians.

import type { Measurement } from "./measure.ts";

const colours = ["#2f6f9f", "#c8783c"];
const width = 860;
const labelWidth = 300;
const barHeight = 9;
const rowHeight = 30;
const headHeight = 60;

/** Medians and p90 of every call side by side, and how many times longer the second takes, or slower it is. */
export function formatTable(measurements: readonly Measurement[]): string {
  if (measurements.length === 0) return "";
  const tables = [latencyLines(measurements), memoryLines(measurements), throughputLines(measurements)];
  return `${tables.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

function latencyLines(measurements: readonly Measurement[]): string[] {
  const [first, second] = measurements;
  const lines = [...(first?.latency ?? [])].map(([name, summary]) => {
    const other = second?.latency.get(name);
    const cells = [summary.median, summary.p90, ...(other === undefined ? [] : [other.median, other.p90])];
    return row(name, cells.map(number), other === undefined ? undefined : other.median / summary.median);
  });
  return [headOf("latency, ms", measurements, ["median", "p90"]), ...lines];
}

function memoryLines(measurements: readonly Measurement[]): string[] {
  const [first, second] = measurements;
  const lines = [...(first?.memory ?? [])].map(([name, bytes]) => {
    const other = second?.memory.get(name);
    const cells = [bytes, ...(other === undefined ? [] : [other])].map((value) => number(value / 2 ** 20));
    return row(name, cells, other === undefined ? undefined : other / bytes);
  });
  return [headOf("memory, MiB", measurements, [""]), ...lines];
}

function throughputLines(measurements: readonly Measurement[]): string[] {
  const [first, second] = measurements;
  const lines = [...(first?.throughput ?? [])].map(([name, rate]) => {
    const other = second?.throughput.get(name);
    const cells = [rate, ...(other === undefined ? [] : [other])].map(number);
    return row(name, cells, other === undefined ? undefined : rate / other);
  });
  return [headOf("throughput, MiB/s", measurements, [""]), ...lines];
}

function headOf(title: string, measurements: readonly Measurement[], columns: string[]): string {
  const heads = measurements.flatMap(({ label }) =>
    columns.map((column) => `${label} ${column}`.trim().padStart(18)),
  );
  return title.padEnd(40) + heads.join("") + (measurements.length > 1 ? "ratio".padStart(9) : "");
}

function row(name: string, cells: string[], ratio: number | undefined): string {
  const end = ratio === undefined ? "" : `${ratio.toFixed(1)} x`.padStart(9);
  return name.padEnd(40) + cells.map((cell) => cell.padStart(18)).join("") + end;
}

const number = (value: number): string => value.toFixed(value < 10 ? 2 : 1);

/** Bars on a logarithmic scale: the calls lie between a tenth of a millisecond and several seconds. */
export function drawChart(measurements: readonly Measurement[], subtitle: string): string {
  const names = [...(measurements[0]?.latency.keys() ?? [])];
  const height = headHeight + names.length * rowHeight + 30;
  const medians = measurements.flatMap(({ latency }) => [...latency.values()].map(({ median }) => median));
  const scale = logScale(Math.min(...medians), Math.max(...medians));
  const rows = names.map((name, index) => drawRow(name, headHeight + index * rowHeight, measurements, scale));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="16" y="24" font-size="16">Median latency of CRI calls, ms (logarithmic scale)</text>
<text x="16" y="42" fill="#666666">${escape(subtitle)}</text>
${legend(measurements)}
${rows.join("\n")}
</svg>
`;
}

function legend(measurements: readonly Measurement[]): string {
  return measurements
    .map(({ version }, index) => {
      const x = width - 230;
      const y = 14 + index * 18;
      return `<rect x="${x}" y="${y}" width="12" height="12" fill="${colours[index]}"/><text x="${x + 18}" y="${y + 10}">${escape(version)}</text>`;
    })
    .join("\n");
}

function drawRow(
  name: string,
  top: number,
  measurements: readonly Measurement[],
  scale: (value: number) => number,
): string {
  const bars = measurements.map(({ latency }, index) => {
    const median = latency.get(name)?.median;
    if (median === undefined) return "";
    const y = top + index * (barHeight + 1);
    const length = scale(median);
    return `<rect x="${labelWidth}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" fill="${colours[index]}"/><text x="${(labelWidth + length + 5).toFixed(1)}" y="${y + 9}" font-size="10">${number(median)}</text>`;
  });
  return `<text x="${labelWidth - 10}" y="${top + 14}" text-anchor="end">${escape(name)}</text>${bars.join("")}`;
}

function logScale(smallest: number, largest: number): (value: number) => number {
  const low = Math.log10(smallest) - 0.3;
  const range = Math.log10(largest) - low;
  const space = width - labelWidth - 70;
  return (value) => ((Math.log10(value) - low) / range) * space;
}

const escape = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
