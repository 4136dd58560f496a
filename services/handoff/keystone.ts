// Logging in to OpenStack's Keystone, Identity API v3: `POST /v3/auth/tokens` answers a token in a header.

import { AppError } from '../../src/domain/error.ts'
import { request } from './request.ts'

/** As `auth` of a cloud in clouds.yaml: by an application credential, or by a user's password and what it is for. */
export type KeystoneLogin = {
  auth_url: string
  application_credential_id?: string
  application_credential_secret?: string
  username?: string
  password?: string
  user_domain_id?: string
  user_domain_name?: string
  project_id?: string
  project_name?: string
  project_domain_id?: string
  project_domain_name?: string
  /** "all" */
  system_scope?: string
}

export type Tokens = {
  /** The one that is in use, else a new one. AppError `bad-request` when there is no logging in. */
  token(): Promise<string>
  /** It is no longer good. */
  forget(): true
}

export function createTokens(login: KeystoneLogin): Tokens {
  let held: Promise<string> | null = null
  return {
    token() {
      held ??= logIn(login).catch((error: unknown) => {
        held = null
        throw error
      })
      return held
    },
    forget() {
      held = null
      return true
    }
  }
}

async function logIn(login: KeystoneLogin): Promise<string> {
  const base = login.auth_url.replace(/\/+$/, '').replace(/\/v3$/, '')
  const { status, headers, text } = await request(`Keystone at ${base}`, `${base}/v3/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ auth: authOf(login) })
  })
  const token = headers.get('x-subject-token')
  if (status === 201 && token) return token
  throw new AppError('bad-request', `Keystone at ${base} gives no token: ${faultOf(text, status)}`, {
    passing: status >= 500
  })
}

function authOf(login: KeystoneLogin): object {
  const { application_credential_id: id, application_credential_secret: secret } = login
  if (id !== undefined)
    return { identity: { methods: ['application_credential'], application_credential: { id, secret } } }
  const { username: name, password, project_id: projectId, project_name: project } = login
  const domain = named(login.user_domain_id, login.user_domain_name ?? 'Default')
  const { project_domain_id: otherId, project_domain_name: other } = login
  const projectDomain = otherId === undefined && other === undefined ? domain : named(otherId, other)
  const scope =
    login.system_scope === 'all'
      ? { system: { all: true } }
      : projectId !== undefined
        ? { project: { id: projectId } }
        : project !== undefined
          ? { project: { name: project, domain: projectDomain } }
          : undefined
  return {
    identity: { methods: ['password'], password: { user: { name, domain, password } } },
    ...(scope ? { scope } : {})
  }
}

const named = (id: string | undefined, name: string | undefined) => (id === undefined ? { name } : { id })

function faultOf(text: string, status: number): string {
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message
  } catch {
    return `HTTP ${status}`
  }
}
