// What a pull tells its caller while it runs.

/** One layer's state; events of one layer come in order, those of different layers mixed. */
export interface LayerProgress {
  /** "sha256:<hex>" of the compressed layer. */
  blobDigest: string;
  /** Position in the image, base first. */
  index: number;
  /** Compressed bytes received so far; `totalBytes` once the state is "done" or "exists". */
  doneBytes: number;
  totalBytes: number;
  state: "waiting" | "downloading" | "unpacked" | "done" | "exists";
}

export type PullProgress =
  | { phase: "resolving"; reference: string }
  | { phase: "layers"; layers: LayerProgress[] }
  | { phase: "layer"; layer: LayerProgress }
  | { phase: "done"; imageId: string };

export type PullListener = (progress: PullProgress) => void;
