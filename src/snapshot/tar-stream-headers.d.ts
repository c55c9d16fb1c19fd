// The header codec inside tar-stream, which its own types leave out (tar-stream 3.1, headers.js).
declare module "tar-stream/headers.js" {
  export interface DecodedHeader {
    name: string;
    mode: number | null;
    uid: number | null;
    gid: number | null;
    size: number | null;
    mtime: Date;
    type: string | null;
    linkname: string | null;
    uname: string;
    gname: string;
    devmajor: number | null;
    devminor: number | null;
    pax: null;
  }
  /** Decodes one 512-byte header; null for a block of zeros. Throws for a wrong checksum. */
  export function decode(
    block: Uint8Array,
    filenameEncoding: BufferEncoding,
    allowUnknownFormat: boolean,
  ): DecodedHeader | null;
}
