// Which boot loader of ours a machine is told. A loader that firmware refuses, or that finds no network, looks the same from here: it was
// fetched whole and nothing follows. Then the next one is tried, and the one that led to the ramdisk is remembered.

import type { Change } from '../domain/change.ts'
import { capabilities, type Node } from '../domain/node.ts'
import type { LoaderTrial, Order } from '../domain/order.ts'
import { LOADERS, SIGNED_LOADERS, type Loader } from './firmware/architectures.ts'

/** After a loader came whole, and nothing more: it has had its time. Switch ports block for 30 to 50 s, loaders ask for 60. */
export const LOADER_SECONDS = 180
/** Sooner than this no loader gives up by itself; seconds. */
const REFUSED_WITHIN = 10

const UNTRIED: LoaderTrial = { fetched: null, worked: null, silent: [], refused: false }

const isSigned = (loader: string) => (SIGNED_LOADERS as readonly string[]).includes(loader)
/** Secure Boot is UEFI's. */
const mayBeRefused = (loader: string) => loader.endsWith('.efi') && !isSigned(loader)
const isLoader = (name: string): name is Loader => (LOADERS as readonly string[]).includes(name)

/**
 * The loaders of an architecture in the order in which this machine is to try them: first what the operator says (`secure_boot:true` among
 * its capabilities), what worked for it, what worked for its hardware model; then as the table has them. Those that were silent in this
 * order come last, and signed ones before all when firmware has refused one.
 * @param modelLoader what last worked for a machine of the same hardware model; null: nothing is known
 */
export function loaderLadder(
  loaders: readonly Loader[],
  node: Pick<Node, 'properties' | 'bootLoader'>,
  modelLoader: string | null,
  trial: LoaderTrial | null
): Loader[] {
  const { silent, refused } = trial ?? UNTRIED
  const secureBoot = capabilities(node)['secure_boot']?.toLowerCase() === 'true'
  const first = secureBoot ? loaders.find(isSigned) : (node.bootLoader ?? modelLoader)
  // The smaller, the sooner; what is equal stays in the table's order.
  const rank = (loader: Loader) =>
    silent.includes(loader) ? 3 : refused ? (isSigned(loader) ? 0 : 2) : loader === first ? 0 : 1
  return [...loaders].sort((one, other) => rank(one) - rank(other))
}

/** A file went out whole: if it is a boot loader, something has to follow now. */
export function loaderFetched(order: Order | null, name: string, now: number): Change[] {
  if (order?.state !== 'open' || !isLoader(name)) return []
  return put(order, { ...(order.loaderTrial ?? UNTRIED), fetched: { loader: name, at: now } })
}

/** The machine got further, so the loader that it fetched last works. */
export function loaderFollowed(order: Order | null): Change[] {
  const trial = order?.state === 'open' ? order.loaderTrial : null
  if (!order || !trial?.fetched) return []
  const { loader } = trial.fetched
  return put(order, {
    ...trial,
    fetched: null,
    worked: loader,
    silent: trial.silent.filter((other) => other !== loader)
  })
}

/** Firmware asks for a boot file. If it fetched a loader before, that one came to nothing; null: it did not. */
export function loaderSilence(
  trial: LoaderTrial | null,
  now: number
): { trial: LoaderTrial; loader: string; seconds: number; reason: string } | null {
  if (!trial?.fetched) return null
  const { loader, at } = trial.fetched
  const seconds = Math.round((now - at) / 1000)
  const silent = [...trial.silent.filter((other) => other !== loader), loader]
  const atOnce = seconds < REFUSED_WITHIN && mayBeRefused(loader)
  return {
    trial: { ...trial, fetched: null, silent, refused: trial.refused || atOnce },
    ...{ loader, seconds, reason: atOnce ? REFUSED : silenceWords(loader) }
  }
}

/** When the wait for something to follow is over, ms; null: nothing is awaited in this attempt. */
export function silenceEnds({
  loaderTrial,
  attemptStartedAt
}: Pick<Order, 'loaderTrial' | 'attemptStartedAt'>): number | null {
  const at = loaderTrial?.fetched?.at
  return at === undefined || at < attemptStartedAt ? null : at + LOADER_SECONDS * 1000
}

/** How many loaders were found to be of no use: each is worth an attempt more. */
export function loadersInVain({ loaderTrial }: Pick<Order, 'loaderTrial'>): number {
  const { silent, fetched } = loaderTrial ?? UNTRIED
  return silent.length + (fetched && !silent.includes(fetched.loader) ? 1 : 0)
}

const REFUSED = 'its firmware did not start it; Secure Boot probably refuses unsigned loaders'

/** What is probably wrong, for people. */
export function silenceWords(loader: string): string {
  if (mayBeRefused(loader))
    return 'Secure Boot probably refuses unsigned loaders, or this one does not work with the network card'
  return isSigned(loader)
    ? 'the firmware probably does not trust who signed it (Microsoft’s UEFI CA for others’ software, which some machines have switched off), or its second stage found no network'
    : 'it probably does not work with the network card or its boot ROM'
}

function put(order: Order, loaderTrial: LoaderTrial): Change[] {
  return [{ put: 'order', row: { ...order, loaderTrial } }]
}
