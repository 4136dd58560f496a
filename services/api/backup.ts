// A backup as the answer: the passphrase comes in the body, the encrypted file goes out while it is made.

import { Readable } from 'node:stream'
import { Type } from 'typebox'
import type { ApiDeps, App } from './deps.ts'

const Body = Type.Object(
  {
    passphrase: Type.String({ minLength: 12, maxLength: 1024 }),
    images: Type.Optional(Type.Boolean({ description: 'the images too, not only their names and hashes' }))
  },
  { additionalProperties: false }
)

export function backupRoutes(app: App, { backups }: ApiDeps): void {
  app.post('/v1/backup', { schema: { body: Body } }, async (request, reply) => {
    const { passphrase, images } = request.body
    // As long as it takes: images are large.
    request.raw.socket.setTimeout?.(0)
    return reply
      .type('application/octet-stream')
      .send(Readable.from(backups.make(passphrase, images === true), { objectMode: false }))
  })
}
