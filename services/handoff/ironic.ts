// The little of Ironic's API that a hand-over needs: one call each, bounded in time, its errors in Ironic's own words.

import type { JsonPatch, RemoteNode } from '../../src/decide/handoff-step.ts'
import { AppError } from '../../src/domain/error.ts'
import { createTokens, type KeystoneLogin } from './keystone.ts'
import { request, type Answer } from './request.ts'

/** Interfaces reset with the driver: 1.45; automated cleaning off for a node: 1.47; protected: 1.48; owner: 1.50; description: 1.51. */
const MICROVERSION = '1.51'

/** How to log in: with a token, by name and password ("name:password", HTTP basic authentication), or through Keystone; or not at all. */
export type IronicLogin = { token?: string; user?: string; keystone?: KeystoneLogin }

export type Ironic = {
  /** Its version and what its conductors enable; AppError `bad-request` when there is no Ironic, or one too old. */
  about(): Promise<{ maximum: string; drivers: string[] }>
  /** null: there is none. */
  node(ident: string): Promise<RemoteNode | null>
  /** Who has the MAC; null: nobody. */
  portByAddress(mac: string): Promise<{ uuid: string; node_uuid: string } | null>
  createNode(body: object): Promise<void>
  createPort(body: object): Promise<void>
  patchNode(uuid: string, patch: JsonPatch): Promise<void>
  provision(uuid: string, target: 'manage' | 'adopt' | 'provide'): Promise<void>
  powerOn(uuid: string): Promise<void>
  /** null: out of it. */
  setMaintenance(uuid: string, reason: string | null): Promise<void>
  deleteNode(uuid: string): Promise<void>
  /** What Ironic says of a later deployment: null: it can be; else why not. */
  deployFault(uuid: string): Promise<string | null>
  /** Has it read the boot device from the BMC; AppError when it cannot log in there. */
  readBmc(uuid: string): Promise<void>
}

export function createIronic(url: string, login: IronicLogin = {}): Ironic {
  const base = url.replace(/\/+$/, '').replace(/\/v1$/, '')
  const tokens = login.keystone && createTokens(login.keystone)

  async function call(method: string, path: string, body?: unknown, good404 = false): Promise<unknown> {
    let response = await send(method, path, body)
    // A token that has run out.
    if (response.status === 401 && tokens?.forget()) response = await send(method, path, body)
    const { status, text } = response
    if (status === 404 && good404) return null
    if (status < 300) return text === '' ? undefined : parsed(text)
    throw new AppError(
      'bad-request',
      `${base} refused ${method} ${path}: ${faultOf(text) || `HTTP ${status}`}`,
      {
        status,
        // A lock, or a service that restarts: Ironic's own clients ask again.
        passing: status === 409 || status >= 500
      }
    )
  }

  async function send(method: string, path: string, body: unknown): Promise<Answer> {
    const token = tokens ? await tokens.token() : login.token
    return request(base, `${base}${path}`, {
      method,
      headers: {
        accept: 'application/json',
        'x-openstack-ironic-api-version': MICROVERSION,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token ? { 'x-auth-token': token } : {}),
        ...(login.user ? { authorization: `Basic ${Buffer.from(login.user).toString('base64')}` } : {})
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
  }

  function parsed(text: string): unknown {
    try {
      return JSON.parse(text)
    } catch {
      throw new AppError('bad-request', `${base} answers, and not as an Ironic does: ${text.slice(0, 100)}`)
    }
  }

  const node = (ident: string) =>
    call('GET', `/v1/nodes/${encodeURIComponent(ident)}`, undefined, true) as Promise<RemoteNode | null>
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
    patchNode: async (uuid, patch) => {
      // Another driver may not have the interfaces of the one before.
      const query = patch.some(({ path }) => path === '/driver') ? '?reset_interfaces=True' : ''
      await call('PATCH', `/v1/nodes/${uuid}${query}`, patch)
    },
    provision: async (uuid, target) =>
      void (await call('PUT', `/v1/nodes/${uuid}/states/provision`, { target })),
    powerOn: async (uuid) =>
      void (await call('PUT', `/v1/nodes/${uuid}/states/power`, { target: 'power on' })),
    setMaintenance: async (uuid, reason) =>
      void (await (reason === null
        ? call('DELETE', `/v1/nodes/${uuid}/maintenance`)
        : call('PUT', `/v1/nodes/${uuid}/maintenance`, { reason }))),
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
    },
    readBmc: async (uuid) => void (await call('GET', `/v1/nodes/${uuid}/management/boot_device`))
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
