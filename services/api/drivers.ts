// Drivers: one, "ipmi", with the interfaces that it has.

import { Type } from 'typebox'
import { FIXED_NODE } from '../../src/decide/enrolment.ts'
import { AppError } from '../../src/domain/error.ts'
import { LOGIN_QUIRKS } from '../../src/wire/ipmi/login-quirk.ts'
import { base, type App } from './deps.ts'
import { flag } from './lists.ts'
import { CONDUCTOR, links, type Json } from './views.ts'

/** What the driver reads from `driver_info`. */
const PROPERTIES: Readonly<Record<string, string>> = {
  ipmi_address: 'IP address or host name of the BMC. Required.',
  ipmi_port: 'UDP port of the BMC; 623 when absent.',
  ipmi_username: 'User name, at most 16 bytes; the anonymous user when absent.',
  ipmi_password: 'Password, at most 20 bytes; stored sealed, never shown.',
  ipmi_cipher_suite:
    '17 or 3; both are tried in that order when absent. 16, 15, 2 and 1 are used only when named here, 0 never.',
  ipmi_hex_kg_key: 'The BMC key K_g as up to 40 hexadecimal digits, for two-key log-in.',
  ipmi_priv_level: 'ADMINISTRATOR or OPERATOR; the highest that the account has when absent.',
  ipmi_protocol_version:
    '2.0 (when absent), or 1.5, which has no encryption and is used only when named here.',
  ipmi_login_quirk: `What this BMC gets wrong at log-in: ${LOGIN_QUIRKS.map(({ name }) => name).join(', ')}.`
}

export function driverRoutes(app: App): void {
  const summary = (at: string): Json => ({
    name: 'ipmi',
    hosts: [CONDUCTOR],
    links: links(at, 'drivers/ipmi'),
    properties: links(at, 'drivers/ipmi/properties'),
    type: 'dynamic'
  })
  const interfaces: Json = {}
  for (const [key, value] of Object.entries(FIXED_NODE)) {
    if (!key.endsWith('_interface')) continue
    interfaces[`default_${key}`] = value
    interfaces[`enabled_${key}s`] = [value]
  }
  const known = (name: string): void => {
    if (name !== 'ipmi') throw new AppError('not-found', `There is no driver ${name}; Seedling has "ipmi"`)
  }

  const query = Type.Object(
    {
      type: Type.Optional(Type.String()),
      detail: Type.Optional(Type.String()),
      fields: Type.Optional(Type.String())
    },
    { additionalProperties: false }
  )
  app.get('/v1/drivers', { schema: { querystring: query } }, async (request) => {
    if (request.query.type === 'classic') return { drivers: [] }
    const driver = summary(base(request))
    return { drivers: [flag(request.query.detail) ? { ...driver, ...interfaces } : driver] }
  })

  const params = Type.Object({ name: Type.String() })
  app.get('/v1/drivers/:name', { schema: { params } }, async (request) => {
    known(request.params.name)
    return { ...summary(base(request)), ...interfaces }
  })
  app.get('/v1/drivers/:name/properties', { schema: { params } }, async (request) => {
    known(request.params.name)
    return PROPERTIES
  })
}
