// Key pairs: public SSH keys by name, given to instances when they are ordered.

import { Type } from 'typebox'
import { readKeyPair } from '../../src/decide/keypair.ts'
import { AppError } from '../../src/domain/error.ts'
import type { ApiDeps, App } from './deps.ts'
import { keypairView } from './views.ts'

const Name = Type.Object({ name: Type.String({ minLength: 1 }) })

export function keypairRoutes(app: App, { facts, store, apply, now }: ApiDeps): void {
  app.get('/v1/keypairs', async () => ({ keypairs: facts.keypairs().map(keypairView) }))

  const body = Type.Object(
    { name: Type.String(), public_key: Type.String({ maxLength: 16384 }) },
    { additionalProperties: false }
  )
  app.post('/v1/keypairs', { schema: { body } }, async (request, reply) => {
    const keypair = readKeyPair(request.body.name, request.body.public_key, now())
    const known = store.commit(() => {
      const before = facts.keypairByName(keypair.name)
      if (before && before.fingerprint !== keypair.fingerprint)
        throw new AppError(
          'name-taken',
          `Key pair ${keypair.name} holds another key (${before.fingerprint}); delete it first, or use another name`
        )
      if (before) return before
      apply([
        { put: 'keypair', row: keypair },
        {
          event: {
            kind: 'keypair-added',
            at: now(),
            nodeUuid: null,
            orderId: null,
            subject: keypair.name,
            detail: { name: keypair.name }
          }
        }
      ])
      return null
    })
    return reply.code(known ? 200 : 201).send(keypairView(known ?? keypair))
  })

  app.get('/v1/keypairs/:name', { schema: { params: Name } }, async (request) => {
    const keypair = facts.keypairByName(request.params.name)
    if (!keypair) throw new AppError('keypair-missing', missing(request.params.name, facts.keypairs()))
    return keypairView(keypair)
  })

  // Instances keep the keys they were given: deleting a key pair only stops it from being given to new ones.
  app.delete('/v1/keypairs/:name', { schema: { params: Name } }, async (request, reply) => {
    store.commit(() => {
      const { name } = request.params
      if (!facts.keypairByName(name)) throw new AppError('keypair-missing', missing(name, facts.keypairs()))
      apply([{ remove: 'keypair', name }])
    })
    return reply.code(204).send()
  })
}

/** The message for a name that is not there; it lists those that are. */
export function missing(name: string, keypairs: readonly { name: string }[]): string {
  const names = keypairs.map((keypair) => keypair.name)
  return (
    `There is no key pair ${JSON.stringify(name)}; ` +
    (names.length > 0
      ? `there ${names.length > 1 ? 'are' : 'is'} ${names.join(', ')}`
      : 'there is none at all: add one with "seedling keypair add NAME FILE.pub"')
  )
}
