// Where things lie below `<dataDir>/images` (services/README.md, "Images").

import { join } from 'node:path'

export const CHUNK_SIZE = 8 * 2 ** 20

export const chunksFolder = (root: string) => join(root, 'chunks')
export const chunkFile = (root: string, sha256: string) => join(root, 'chunks', sha256.slice(0, 2), sha256)
export const manifestsFolder = (root: string) => join(root, 'manifests')
export const manifestFile = (root: string, digest: string) => join(root, 'manifests', digest)
/** What is under way: a folder for each import. Emptied at start. */
export const uploadFolder = (root: string) => join(root, 'upload')
