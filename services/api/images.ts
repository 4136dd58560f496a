// Images: list, show, delete, and upload as the raw body of a PUT, streamed to the image store.

import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { AppError } from '../../src/domain/error.ts'
import { base, imageNamed, type ApiDeps, type App } from './deps.ts'
import { imageView } from './views.ts'

const Name = Type.Object({ name: Type.String({ minLength: 1 }) })

export function imageRoutes(app: App, { facts, images }: ApiDeps): void {
  app.get('/v1/images', async (request) => {
    const at = base(request)
    return { images: facts.images().map((image) => imageView(image, at)) }
  })
  app.get('/v1/images/:name', { schema: { params: Name } }, async (request) =>
    imageView(imageNamed(facts, request.params.name), base(request))
  )
  app.delete('/v1/images/:name', { schema: { params: Name } }, async (request, reply) => {
    await images.remove(imageNamed(facts, request.params.name).id)
    return reply.code(204).send()
  })

  const query = Type.Object(
    {
      disk_format: Type.Optional(
        Type.String({ description: 'raw or qcow2; told from the file when absent' })
      ),
      sha256: Type.Optional(
        Type.String({ pattern: '^[0-9a-fA-F]{64}$', description: 'of the file that is sent' })
      )
    },
    { additionalProperties: false }
  )
  void app.register(async (scope: App) => {
    // In here a body is bytes, whatever its type is called.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    scope.put(
      '/v1/images/:name',
      { schema: { params: Name, querystring: query } },
      async (request, reply) => {
        const { disk_format: format, sha256 } = request.query
        // Checking and converting a large image takes longer than any idle limit.
        request.raw.socket.setTimeout?.(0)
        if (!request.body) throw new AppError('bad-request', 'the body is empty; it is the image file itself')
        const length = request.headers['content-length']
        const size = length === undefined ? undefined : Number(length)
        const image = await images.add(request.params.name, request.body as Readable, {
          format,
          sha256,
          size
        })
        return reply.code(201).send(imageView(image, base(request)))
      }
    )
  })
}
