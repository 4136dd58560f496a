// What clients ask first: which versions are here, and which resources.

import type { App } from './deps.ts'
import { base } from './deps.ts'
import type { Json } from './views.ts'
import { MAX_VERSION, MIN_VERSION } from './version.ts'

const RESOURCES = ['nodes', 'ports', 'drivers', 'images', 'keypairs', 'deployments', 'dhcp/leases', 'events']

export function discoveryRoutes(app: App): void {
  const version = (at: string): Json => ({
    id: 'v1',
    links: [{ href: `${at}/v1/`, rel: 'self' }],
    status: 'CURRENT',
    min_version: MIN_VERSION,
    version: MAX_VERSION
  })

  app.get('/', async (request) => {
    const v1 = version(base(request))
    return {
      name: 'Seedling Bare Metal API',
      description:
        "Ironic's bare metal API as far as a bootstrap needs it, with images, key pairs and events beside it",
      versions: [v1],
      default_version: v1
    }
  })

  app.get('/v1', async (request) => {
    const at = base(request)
    return {
      id: 'v1',
      links: [{ href: `${at}/v1/`, rel: 'self' }],
      ...Object.fromEntries(
        RESOURCES.map((path) => [
          path.split('/').at(-1),
          [
            { href: `${at}/v1/${path}/`, rel: 'self' },
            { href: `${at}/${path}/`, rel: 'bookmark' }
          ]
        ])
      ),
      version: version(at)
    }
  })
}
