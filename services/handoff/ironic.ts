// The little of Ironic's API that a hand-over needs: one call each, bounded in time, its errors in Ironic's own words.

import { AppError } from '../../src/domain/error.ts'

/** Automated cleaning off for a node: 1.47; protected: 1.48. */
const MICROVERSION = '1.50'
const PATIENCE_MILLISECONDS = 60_000

export type IronicNode = {
  uuid: string
  name: string | null
  provision_state: string
  target_provision_state: string | null
  power_state: string | null
  last_error: string | null
  maintenance: boolean
  protected: boolean
  instance_info: Record<string, unknown>
  driver: string
}

type Patch = { op: 'add' | 'replace' | 'remove'; path: string; value?: unknown }

export type Ironic = {
  /** Its version and what its conductors enable; AppError `bad-request` when there is no Ironic, or one too old. */
  about(): Promise<{ maximum: string; drivers: string[] }>
  /** null: there is none. */
  node(ident: string): Promise<IronicNode | null>
  /** Who has the MAC; null: nobody. */
  portByAddress(mac: string): Promise<{ uuid: string; node_uuid: string } | null>
  createNode(body: object): Promise<void>
  createPort(body: object): Promise<void>
  patchNode(uuid: string, patch: readonly Patch[]): Promise<void>
  provision(uuid: string, target: 'manage' | 'adopt'): Promise<void>
  setMaintenance(uuid: string, reason: string): Promise<void>
  deleteNode(uuid: string): Promise<void>
  /** What Ironic says of a later deployment: null: it can be; else why not. */
  deployFault(uuid: string): Promise<string | null>
}

/** `token`: an X-Auth-Token; null for an Ironic without authentication. `user`: "name:password" for HTTP basic authentication. */
export function createIronic(url: string, auth: { token?: string; user?: string } = {}): Ironic {
  const base = url.replace(/\/+$/, '').replace(/\/v1$/, '')

  async function call(method: string, path: string, body?: unknown, good404 = false): Promise<unknown> {
    let response: Response
    let text: string
    try {
      response = await fetch(`${base}${path}`, {
        method,
        redirect: 'error',
        signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
        headers: {
          accept: 'application/json',
          'x-openstack-ironic-api-version': MICROVERSION,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(auth.token ? { 'x-auth-token': auth.token } : {}),
          ...(auth.user ? { authorization: `Basic ${Buffer.from(auth.user).toString('base64')}` } : {})
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      text = await response.text()
    } catch (error) {
      const { cause, message } = error as Error & { cause?: { code?: string } }
      throw new AppError('bad-request', `${base} does not answer: ${cause?.code ?? message}`, {
        passing: true
      })
    }
    if (response.status === 404 && good404) return null
    if (response.ok) return text === '' ? undefined : JSON.parse(text)
    throw new AppError(
      'bad-request',
      `${base} refused ${method} ${path}: ${faultOf(text) || `HTTP ${response.status}`}`,
      {
        status: response.status,
        // A lock, or a service that restarts: Ironic's own clients ask again.
        passing: response.status === 409 || response.status >= 500
      }
    )
  }

  const node = (ident: string) =>
    call('GET', `/v1/nodes/${encodeURIComponent(ident)}`, undefined, true) as Promise<IronicNode | null>
  return {
    async about() {
      const root = (await call('GET', '/v1')) as { version?: { version?: string } }
      const maximum = root.version?.version
      if (!maximum)
        throw new AppError('bad-request', `${base} is no Ironic, or one older than API version 1.50 (2018)`)
      const { drivers } = (await call('GET', '/v1/drivers')) as { drivers: { name: string }[] }
      return { maximum, drivers: drivers.map(({ name }) => name) }
    },
    node,
    async portByAddress(mac) {
      const { ports } = (await call('GET', `/v1/ports/detail?address=${encodeURIComponent(mac)}`)) as {
        ports: { uuid: string; node_uuid: string }[]
      }
      return ports[0] ?? null
    },
    createNode: async (body) => void (await call('POST', '/v1/nodes', body)),
    createPort: async (body) => void (await call('POST', '/v1/ports', body)),
    patchNode: async (uuid, patch) => void (await call('PATCH', `/v1/nodes/${uuid}`, patch)),
    provision: async (uuid, target) =>
      void (await call('PUT', `/v1/nodes/${uuid}/states/provision`, { target })),
    setMaintenance: async (uuid, reason) =>
      void (await call('PUT', `/v1/nodes/${uuid}/maintenance`, { reason })),
    deleteNode: async (uuid) => void (await call('DELETE', `/v1/nodes/${uuid}`, undefined, true)),
    async deployFault(uuid) {
      const answer = (await call('GET', `/v1/nodes/${uuid}/validate`)) as Record<
        string,
        { result: boolean | null; reason?: string }
      >
      const faults = ['deploy', 'boot', 'power', 'management']
        .map((name) => [name, answer[name]] as const)
        .filter(([, one]) => one?.result === false)
      return faults.length === 0
        ? null
        : faults.map(([name, one]) => `${name}: ${one?.reason ?? 'no reason given'}`).join('; ')
    }
  }
}

/** Ironic's error body: JSON in JSON, or plain. */
function faultOf(text: string): string {
  try {
    const { error_message: message } = JSON.parse(text) as { error_message: unknown }
    if (typeof message === 'string') return (JSON.parse(message) as { faultstring: string }).faultstring
    return (message as { faultstring?: string }).faultstring ?? ''
  } catch {
    return text.slice(0, 200)
  }
}
