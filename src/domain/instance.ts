// What a machine becomes: the identity and configuration of an installed system.

export type Instance = {
  uuid: string
  nodeUuid: string
  imageId: string
  hostname: string
  /** Key pair name → public key, as they were when ordered. */
  publicKeys: Readonly<Record<string, string>>
  /** cloud-init user data, verbatim, base64; null: none. */
  userData: string | null
  /** The operator's own document for os-collect-config, merged into what we serve. */
  metadata: Readonly<Record<string, unknown>>
  /** 256 random bits, hex: names this instance in its metadata and signal URLs. */
  token: string
  createdAt: number
}
