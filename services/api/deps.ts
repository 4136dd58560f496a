// What the API is given, and the handful of things that all its routes do.

import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault
} from 'fastify'
import type { Logger } from 'pino'
import { Type } from 'typebox'
import type { DhcpVerdict } from '../../src/decide/dhcp.ts'
import type { SeenClient, SeenServer } from '../../src/decide/dhcp-seen.ts'
import type { Fresh, ProvisionFacts } from '../../src/decide/provision.ts'
import type { OperatorBmc } from '../../src/domain/bmc.ts'
import type { ConsoleOptions } from '../../src/domain/console.ts'
import { AppError } from '../../src/domain/error.ts'
import type { HandoffOptions, HandoffPlan } from '../../src/domain/handoff.ts'
import type { Image } from '../../src/domain/image.ts'
import type { Node } from '../../src/domain/node.ts'
import type { DhcpPacket } from '../../src/domain/packet.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import type { Config } from '../config.ts'
import type { LostLines } from '../log.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'
import { flag } from './lists.ts'

export type ApiDeps = {
  config: Config
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  /** The lease clock, ms (services/clock.ts). */
  leaseNow: () => number
  /** Tells the conductor that a node has something to do; a hint. */
  wake: (nodeUuid: string) => void
  /** 256 random bits, hex. */
  token: () => string
  /** The node's BMC; throws AppError when its driver_info is no use. */
  bmc: (node: Node) => OperatorBmc
  images: {
    add(
      name: string,
      stream: Readable,
      options: { format?: string | undefined; sha256?: string | undefined; size?: number | undefined }
    ): Promise<Image>
    remove(ident: string): Promise<void>
  }
  dhcp: DhcpInsight
  consoles: ConsoleAccess
  handoff: HandoffAccess
  lostLines: () => LostLines
  backups: {
    /** The bytes of an encrypted backup. */
    make(passphrase: string, withImages: boolean): AsyncIterable<Buffer>
    /** When one was last made in this run, ms; null: none. */
    lastAt(): number | null
  }
}

/** How far the end of all serving is; `finishedAt` in ms, null: not begun. */
export type HandoffEnding = { finishedAt: number | null; stillAsking: string[]; canSwitchOff: boolean }

/** Giving machines to another owner (services/handoff). */
export type HandoffAccess = {
  /** Asks BMCs for boot devices; what they do not tell is in the plan. */
  plan(nodes: readonly string[], options: HandoffOptions): Promise<HandoffPlan>
  /** `bmcs`: it is to log in to each BMC. */
  check(
    target: { url: string },
    nodes: readonly string[],
    options: HandoffOptions,
    bmcs: boolean
  ): Promise<string[]>
  commit(target: { url: string }, nodes: readonly string[], options: HandoffOptions): string[]
  /** `forget`: the other side is not asked. */
  undo(node: string, forget: boolean): Promise<void>
  finish(): HandoffEnding
  ending(): HandoffEnding
  state(): readonly object[]
  report(): { text: string; signature: string; publicKey: string }
}

/** Serial consoles, and what was recorded of them (services/console). */
export type ConsoleAccess = {
  /** What comes is told later, never before this returns. */
  join(
    node: Node,
    guest: { heard(characters: Buffer): void; told(text: string): void; ended(error: AppError): void },
    options: ConsoleOptions
  ): { write(characters: Uint8Array): void; sendBreak(): void; leave(): void }
  recordings: {
    /** Null: there is no such recording. `updatedAt` in milliseconds since the epoch. */
    facts(id: string): { bytes: number; omitted: number; updatedAt: number } | null
    read(id: string): Promise<Buffer | null>
  }
}

/** What the DHCP service knows beside its rows. Nothing here changes what it does. */
export type DhcpInsight = {
  /** Since the start, by name. */
  counters: Readonly<Record<string, number>>
  /** The share of strangers' packets that are let in; 1, all, but in a flood. */
  strangersShare(): number
  packets: {
    /** Oldest first; empty: none was seen. */
    of(mac: Mac): DhcpPacket[]
    /** The last that came from it. */
    newest(mac: Mac): DhcpPacket | undefined
    forget(mac: Mac): void
  }
  seen: { clients(limit: number): SeenClient[]; servers(): SeenServer[] }
  /** What would be answered if this request came now. */
  dryRun(request: DhcpMessage): DhcpVerdict
  /** Who else was just found to hold the address; null: nobody. `mac` null: unknown who. */
  conflict(ip: Ip): { mac: Mac | null } | null
  /** Other DHCP servers on the link, harmless ones too, and what that means for us. */
  watch(): { state: string; servers: readonly OtherServer[] }
  /** The DHCP server on the link that must not be there, in words; null: there is none. */
  intruder(): string | null
}

export type OtherServer = {
  address: Ip
  mac: Mac | null
  kind: string
  firstSeenAt: number
  lastSeenAt: number
  harmless: boolean
}

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/** `http://host` as the client wrote it: links lead back by the way it came. */
export function base(request: Pick<FastifyRequest, 'host' | 'protocol'>): string {
  return `${request.protocol}://${request.host || 'localhost'}`
}

/** `despite_foreign_dhcp` of what starts a deployment: the caller knows of the other server. */
export const DESPITE_FOREIGN_DHCP = { despite_foreign_dhcp: Type.Optional(Type.String()) }

/** A machine that boots beside another DHCP server may get that one's address and boot file. AppError `foreign-dhcp`. */
export function checkAlone({ dhcp }: Pick<ApiDeps, 'dhcp'>, query: { despite_foreign_dhcp?: string }): void {
  const intruder = dhcp.intruder()
  if (intruder === null || flag(query.despite_foreign_dhcp ?? 'false')) return
  throw new AppError(
    'foreign-dhcp',
    `There is ${intruder}, and a machine that boots now may get its answer instead of ours. Stop that server; or name it in ` +
      '"network.dhcp.tolerate", if it has other machines; or ask with despite_foreign_dhcp=true'
  )
}

/** By UUID or name; AppError `not-found`. */
export function nodeNamed(facts: Facts, ident: string): Node {
  const node = facts.node(ident)
  if (!node) throw new AppError('not-found', `Node ${ident} could not be found`)
  return node
}

export function provisionFacts(facts: Facts, node: Node): ProvisionFacts {
  return {
    node,
    ports: facts.portsOfNode(node.uuid),
    orders: facts.ordersOfNode(node.uuid),
    instance: node.instanceUuid === null ? null : facts.instanceByUuid(node.instanceUuid)
  }
}

export function fresh({ token }: Pick<ApiDeps, 'token'>): Fresh {
  return { orderId: randomUUID(), orderToken: token(), instanceUuid: randomUUID(), instanceToken: token() }
}

/** The image of that name or id; AppError `image-missing`, which lists the images that there are. */
export function imageNamed(facts: Facts, ident: string): Image {
  const image = facts.imageByName(ident) ?? facts.imageById(ident)
  if (image) return image
  const names = facts.images().map(({ name }) => name)
  throw new AppError(
    'image-missing',
    `There is no image ${JSON.stringify(ident)}; ` +
      (names.length > 0
        ? `there ${names.length > 1 ? 'are' : 'is'} ${names.join(', ')}`
        : 'there is none at all: add one with "seedling image add NAME FILE"')
  )
}
