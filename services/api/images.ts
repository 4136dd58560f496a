// Images: list, show, delete, and upload as the raw body of a PUT, streamed to the image store.

import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { isUuid } from '../../src/decide/enrolment.ts'
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
    const image = imageNamed(facts, request.params.name)
    if (facts.imageInUse(image.id)) {
      const users = facts.nodes().filter((node) => {
        const instance = node.instanceUuid === null ? null : facts.instanceByUuid(node.instanceUuid)
        return (instance?.imageId ?? facts.latestOrder(node.uuid)?.imageId) === image.id
      })
      const names = users.map((node) => node.name ?? node.uuid).join(', ')
      throw new AppError(
        'image-in-use',
        `Image ${image.name} is installed or being installed${names ? ` on ${names}` : ''}; undeploy first`
      )
    }
    await images.remove(image.id)
    return reply.code(204).send()
  })

  void app.register(async (scope) => {
    // In here a body is bytes, whatever its type is called.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    scope.put('/v1/images/:name', { schema: { params: Name } }, async (request, reply) => {
      const { name } = request.params as { name: string }
      // Checking and converting a large image takes longer than any idle limit.
      request.raw.socket.setTimeout?.(0)
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name) || isUuid(name))
        throw new AppError(
          'bad-request',
          `image name ${JSON.stringify(name)} may have only letters, digits and . _ -`
        )
      if (facts.imageByName(name))
        throw new AppError(
          'name-taken',
          `There is an image ${name} already; delete it first, or use another name`
        )
      if (!request.body) throw new AppError('bad-request', 'the body is empty; it is the image file itself')
      const image = await images.add(name, request.body as Readable)
      return reply.code(201).send(imageView(image, base(request)))
    })
  })
}
