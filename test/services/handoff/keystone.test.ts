// Logging in to a real Ironic through a real Keystone.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createIronic } from '../../../services/handoff/ironic.ts'
import { createTokens, type KeystoneLogin } from '../../../services/handoff/keystone.ts'
import { freePort, startIronic } from '../../support/ironic.ts'
import { ADMIN, startKeystone } from '../../support/keystone.ts'

t.setTimeout(180_000)

const keystone = await startKeystone(t)
const ironic = await startIronic(t, { keystone: { ...ADMIN, auth_url: keystone.url } })
const tokenOf = (login: KeystoneLogin) => createTokens(login).token()
const admin = await tokenOf({ ...ADMIN, auth_url: keystone.url })

type Named = { id: string; name: string }[]

/** Keystone's own API. Rejects unless the answer is good. */
async function ask<T>(
  method: string,
  path: string,
  { body, token = admin, subject }: { body?: object; token?: string; subject?: string } = {}
): Promise<T> {
  const headers = { 'x-auth-token': token, 'content-type': 'application/json' }
  const answer = await fetch(`${keystone.url}/v3${path}`, {
    method,
    headers: { ...headers, ...(subject ? { 'x-subject-token': subject } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {})
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${path}: ${text}`)
  return (text === '' ? undefined : JSON.parse(text)) as T
}

/** Another than admin, as which Ironic itself asks Keystone. */
const USER = { username: 'operator', password: 'secret "1"', user_domain_name: 'Default' }
const { user } = await ask<{ user: { id: string } }>('POST', '/users', {
  body: { user: { name: USER.username, password: USER.password, domain_id: 'default' } }
})
const idOf = (all: Named) => all.find(({ name }) => name === 'admin')?.id
const role = idOf((await ask<{ roles: Named }>('GET', '/roles')).roles)
const project = idOf((await ask<{ projects: Named }>('GET', '/projects')).projects)
for (const where of ['system', `projects/${project}`])
  await ask('PUT', `/${where}/users/${user.id}/roles/${role}`)
const SYSTEM: KeystoneLogin = { ...USER, auth_url: `${keystone.url}/v3`, system_scope: 'all' }
const PROJECT: KeystoneLogin = { ...USER, auth_url: `${keystone.url}/`, project_name: 'admin' }

const works = async (login: KeystoneLogin) =>
  (await createIronic(ironic.url, { keystone: login }).about()).drivers.includes('ipmi')

t.test('with a password, for the system or a project', async (t) => {
  t.ok(await works(SYSTEM))
  t.ok(await works(PROJECT))
  const { username, password } = USER
  t.ok(
    await works({
      username,
      password,
      user_domain_id: 'default',
      auth_url: keystone.url,
      project_id: project as string
    })
  )
})

t.test('with an application credential', async (t) => {
  const { application_credential: made } = await ask<{
    application_credential: { id: string; secret: string }
  }>('POST', `/users/${user.id}/application_credentials`, {
    body: { application_credential: { name: 'seedling' } },
    token: await tokenOf(PROJECT)
  })
  const login = { application_credential_id: made.id, application_credential_secret: made.secret }
  t.ok(await works({ ...login, auth_url: keystone.url }))
})

t.test('one token serves until it is no longer good, then there is another', async (t) => {
  const tokens = createTokens(SYSTEM)
  const first = await tokens.token()
  t.equal(await tokens.token(), first)
  const fixed = createIronic(ironic.url, { token: first })
  t.ok(await fixed.about())
  await ask('DELETE', '/auth/tokens', { subject: first })
  await t.rejects(
    fixed.about(),
    { message: /refused GET \/v1/, detail: { status: 401 } },
    'one that was given has no other'
  )

  const own = createIronic(ironic.url, { keystone: SYSTEM })
  await own.about()
  // All tokens that were given are revoked with the password.
  const change = (original_password: string, password: string) =>
    ask('POST', `/users/${user.id}/password`, { body: { user: { original_password, password } } })
  await change(USER.password, 'another')
  await t.rejects(own.about(), { message: /Keystone at .* gives no token: .*requires authentication/ })
  await change('another', USER.password)
  // It revokes what was given up to the end of this second.
  await sleep(1100)
  t.ok(await own.about())
})

t.test('what is wrong is told in words', async (t) => {
  await t.rejects(createIronic(ironic.url).about(), { message: /refused GET \/v1/, detail: { status: 401 } })
  const nobody = `http://127.0.0.1:${await freePort()}`
  await t.rejects(works({ ...SYSTEM, auth_url: nobody }), {
    message: `Keystone at ${nobody} does not answer: ECONNREFUSED`,
    detail: { passing: true }
  })
})
