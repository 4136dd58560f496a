// Whole-disk images and key pairs. An image is stored as chunks (services/README.md, "Images"); its digest is the
// sha256 of its manifest and so names exactly one content.

export type Image = {
  id: string
  name: string
  /** sha256 of the manifest: the name under which chunks and manifest are served. */
  digest: string
  /** sha256 of the whole raw disk. */
  sha256: string
  /** Bytes of the raw disk. */
  size: number
  chunkSize: number
  /** Bytes the compressed chunks take in the store. */
  storedSize: number
  /** What was uploaded. */
  format: 'raw' | 'qcow2'
  createdAt: number
}

export type KeyPair = {
  name: string
  /** One line of OpenSSH public key. */
  publicKey: string
  /** `SHA256:…` as ssh-keygen prints it. */
  fingerprint: string
  createdAt: number
}
