// Errors → answers, in one place. The body is Ironic's: `error_message` holds JSON as text, and its `faultstring` is what
// clients show; `code` beside it is our stable name.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, type ErrorCode } from '../../src/domain/error.ts'

/** 409 and 503 are kept for what passes by waiting or is taken: Ironic's clients repeat those five times. */
const STATUS: Readonly<Record<ErrorCode, number>> = {
  'bad-request': 400,
  'bad-inventory': 400,
  'not-found': 404,
  'name-taken': 409,
  'mac-taken': 409,
  'bmc-taken': 409,
  'wrong-state': 400,
  busy: 409,
  'image-missing': 404,
  'image-refused': 400,
  'image-in-use': 409,
  'keypair-missing': 404,
  'pool-exhausted': 400,
  unauthorized: 401,
  misdirected: 421,
  'cross-site': 403,
  'too-large': 413,
  'storage-full': 507,
  'foreign-dhcp': 409,
  'bad-config': 500,
  'unsafe-network': 500,
  'state-locked': 500,
  fenced: 500,
  'schema-newer': 500,
  'state-damaged': 500,
  'bad-backup': 400,
  'bmc-unreachable': 502,
  'bmc-auth': 502,
  'bmc-cipher': 502,
  'bmc-privilege': 502,
  'bmc-busy': 502,
  'bmc-refused': 502,
  'bmc-protocol': 502
}

export function errorBody(status: number, code: string, message: string): { error_message: string } {
  const faultcode = status < 500 ? 'Client' : 'Server'
  return { error_message: JSON.stringify({ faultcode, faultstring: message, debuginfo: null, code }) }
}

/** Sets the handlers for errors and unknown paths. What is no operator's error is logged whole and answered without detail. */
export function answerErrors(app: FastifyInstance): void {
  app.setErrorHandler((error: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const { status, code, message } = describe(error)
    if (status >= 500) request.log.error({ err: error }, 'request failed')
    void reply
      .code(status)
      .type('application/json')
      .send(errorBody(status, code, message))
  })
  app.setNotFoundHandler((request, reply) => {
    const message = `There is no ${request.method} ${request.url.split('?')[0]} here`
    void reply.code(404).send(errorBody(404, 'not-found', message))
  })
}

function describe(error: unknown): { status: number; code: string; message: string } {
  if (error instanceof AppError)
    return { status: STATUS[error.code], code: error.code, message: error.message }
  const { statusCode, message, code } = error as { statusCode?: number; message?: string; code?: string }
  if (code === 'SQLITE_FULL' || code === 'ENOSPC')
    return {
      status: 507,
      code: 'storage-full',
      message:
        'The disk is full, so nothing was changed; make room (delete images nobody uses), then ask again'
    }
  if (code?.startsWith('SQLITE_BUSY'))
    return {
      status: 503,
      code: 'busy',
      message: 'Another program holds the database; nothing was changed, ask again in a moment'
    }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return {
      status: 415,
      code: 'bad-request',
      message: 'The body must be JSON, sent as Content-Type: application/json'
    }
  if (statusCode === 413)
    return { status: 413, code: 'too-large', message: 'The body is larger than this path takes' }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return { status: statusCode, code: 'bad-request', message: message ?? 'bad request' }
  return {
    status: 500,
    code: 'internal',
    message: 'Seedling met an error of its own; its log has the details'
  }
}

type SchemaFault = {
  instancePath: string
  message?: string
  keyword?: string
  params?: Record<string, unknown>
}

/** Schema faults, all of them, in words. */
export function schemaError(faults: readonly SchemaFault[], part: string): Error {
  const words: string[] = []
  for (const { instancePath, keyword, message, params } of faults) {
    const where = instancePath.slice(1).replaceAll('/', '.')
    const inside = where === '' ? '' : `${where}.`
    if (keyword === 'additionalProperties')
      for (const key of params?.['additionalProperties'] as string[])
        words.push(`unknown key "${inside}${key}"; remove it or correct its spelling`)
    else if (keyword === 'required')
      for (const key of params?.['requiredProperties'] as string[]) words.push(`"${inside}${key}" is missing`)
    else if (keyword !== 'boolean') words.push(`${where === '' ? `the ${part}` : `"${where}"`} ${message}`)
  }
  return new AppError('bad-request', [...new Set(words)].join('; '), { faults: words })
}
