// Ironic's API versions (ironic docs, "REST API Version History"): which we speak, and the headers that say so on every answer.

import type { FastifyInstance } from 'fastify'

const HEADER = 'x-openstack-ironic-api-version'
export const MIN_VERSION = '1.1'
export const MAX_VERSION = '1.78'
const MAX_MINOR = 78

/** Puts the version headers on every answer; 406 for a version that we do not speak, so that the client takes a lower one. */
export function speakVersions(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('X-OpenStack-Ironic-API-Minimum-Version', MIN_VERSION)
    reply.header('X-OpenStack-Ironic-API-Maximum-Version', MAX_VERSION)
    reply.header('Openstack-Request-Id', request.id)
    const asked = request.headers[HEADER]
    const version = asked === undefined ? MIN_VERSION : asked === 'latest' ? MAX_VERSION : String(asked)
    const minor = Number(/^1\.(\d{1,4})$/.exec(version)?.[1] ?? NaN)
    const spoken = minor >= 1 && minor <= MAX_MINOR
    reply.header('X-OpenStack-Ironic-API-Version', spoken ? version : MAX_VERSION)
    if (spoken) return
    // The one error whose message is an object: clients look for the headers, people for the description.
    const description =
      `Version ${version} is not served here; the versions are ${MIN_VERSION} to ${MAX_VERSION} ` +
      '(header X-OpenStack-Ironic-API-Version)'
    return reply
      .code(406)
      .send({ error_message: { code: '406 Not Acceptable', title: 'Not Acceptable', description } })
  })
}
