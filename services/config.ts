// One JSON file, one schema, everything checked before the first socket is opened; all faults are told at once.

import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { OrderLimits } from '../src/decide/order.ts'
import { AppError } from '../src/domain/error.ts'
import type { Subnet } from '../src/domain/subnet.ts'
import { parseCidr, parseIp } from '../src/wire/address.ts'

const Ip = Type.String({ pattern: '^\\d{1,3}(\\.\\d{1,3}){3}$', description: 'an IPv4 address' })
const Port = Type.Integer({ minimum: 1, maximum: 65535 })
const Seconds = Type.Integer({ minimum: 0, maximum: 7 * 86400 })

const SubnetSchema = Type.Object(
  {
    cidr: Type.String({ description: 'network and prefix length, "192.0.2.0/24"' }),
    pool: Type.Object({ start: Ip, end: Ip }, { additionalProperties: false }),
    gateway: Type.Optional(Ip),
    dns: Type.Optional(Type.Array(Ip)),
    ntp: Type.Optional(Type.Array(Ip)),
    domain: Type.Optional(Type.String({ minLength: 1, maxLength: 253 })),
    mtu: Type.Optional(Type.Integer({ minimum: 576, maximum: 65535 })),
    leaseSeconds: Type.Optional(Type.Integer({ minimum: 120, maximum: 30 * 86400 }))
  },
  { additionalProperties: false }
)

const ConfigSchema = Type.Object(
  {
    dataDir: Type.String({ minLength: 1, description: 'folder for the database, keys and images' }),
    network: Type.Object(
      {
        interface: Type.String({ minLength: 1, maxLength: 15, description: 'the link the machines are on' }),
        address: Ip,
        subnets: Type.Array(SubnetSchema, { minItems: 1 })
      },
      { additionalProperties: false }
    ),
    http: Type.Optional(Type.Object({ port: Type.Optional(Port) }, { additionalProperties: false })),
    api: Type.Object(
      {
        address: Type.Optional(Ip),
        port: Type.Optional(Port),
        socket: Type.String({ minLength: 1, description: 'path of the Unix socket for the CLI' })
      },
      { additionalProperties: false }
    ),
    boot: Type.Object(
      {
        kernel: Type.String({ minLength: 1, description: 'kernel of the deploy ramdisk' }),
        ramdisk: Type.String({ minLength: 1, description: 'the deploy ramdisk' }),
        loaders: Type.String({ minLength: 1, description: 'folder with the boot loaders' }),
        console: Type.Optional(Type.Array(Type.String({ pattern: '^[a-zA-Z0-9,]+$' }))),
        kernelArguments: Type.Optional(Type.Array(Type.String({ pattern: '^[A-Za-z0-9_.,:/=+-]+$' })))
      },
      { additionalProperties: false }
    ),
    deploy: Type.Optional(
      Type.Object(
        {
          attempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
          agentSeconds: Type.Optional(Seconds),
          writeStallSeconds: Type.Optional(Seconds),
          instanceSeconds: Type.Optional(Seconds),
          minimumOffSeconds: Type.Optional(Seconds)
        },
        { additionalProperties: false }
      )
    ),
    bmc: Type.Optional(Type.Object({ pollSeconds: Type.Optional(Seconds) }, { additionalProperties: false })),
    log: Type.Optional(
      Type.Object(
        {
          level: Type.Optional(
            Type.Union(['trace', 'debug', 'info', 'warn', 'error'].map((level) => Type.Literal(level)))
          )
        },
        { additionalProperties: false }
      )
    )
  },
  { additionalProperties: false }
)

/** The effective configuration: every default filled in, every path absolute. */
export type Config = {
  dataDir: string
  network: { interface: string; address: string; subnets: Subnet[] }
  http: { port: number }
  /** `address` null: no TCP listener, only the Unix socket. */
  api: { address: string | null; port: number; socket: string }
  boot: { kernel: string; ramdisk: string; loaders: string; console: string[]; kernelArguments: string[] }
  /** Limits and patience of orders; seconds. */
  deploy: OrderLimits
  /** 0: power is read only when an order needs it. */
  bmc: { pollSeconds: number }
  log: { level: string }
}

const compiled = Compile(ConfigSchema)

/** Reads and checks the file; AppError `bad-config` with every fault found, one a line. Relative paths are relative to the file. */
export function loadConfig(file: string): Config {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new AppError('bad-config', `cannot read the configuration ${file}: ${(error as Error).message}`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new AppError('bad-config', `${file} is not JSON: ${(error as Error).message}`)
  }
  return checkConfig(json, dirname(resolve(file)), file)
}

/** The pure part of `loadConfig`: the parsed JSON → the effective configuration. */
export function checkConfig(json: unknown, folder: string, file = 'the configuration'): Config {
  const faults = schemaFaults(json)
  if (faults.length === 0) faults.push(...networkFaults(json as Static<typeof ConfigSchema>))
  if (faults.length > 0)
    throw new AppError(
      'bad-config',
      `${file}: ${faults.length} fault${faults.length > 1 ? 's' : ''}\n  ${faults.join('\n  ')}`,
      {
        faults
      }
    )
  const given = json as Static<typeof ConfigSchema>
  const path = (name: string) => resolve(folder, name)
  return {
    dataDir: path(given.dataDir),
    network: {
      interface: given.network.interface,
      address: given.network.address,
      subnets: given.network.subnets.map((subnet) => ({
        cidr: subnet.cidr,
        pool: subnet.pool,
        gateway: subnet.gateway ?? null,
        dns: subnet.dns ?? [],
        ntp: subnet.ntp ?? [],
        domain: subnet.domain ?? null,
        mtu: subnet.mtu ?? null,
        leaseSeconds: subnet.leaseSeconds ?? 3600
      }))
    },
    http: { port: given.http?.port ?? 80 },
    api: { address: given.api.address ?? null, port: given.api.port ?? 6385, socket: path(given.api.socket) },
    boot: {
      kernel: path(given.boot.kernel),
      ramdisk: path(given.boot.ramdisk),
      loaders: path(given.boot.loaders),
      console: given.boot.console ?? [],
      kernelArguments: given.boot.kernelArguments ?? []
    },
    deploy: {
      attempts: given.deploy?.attempts ?? 3,
      agentSeconds: given.deploy?.agentSeconds ?? 1200,
      writeStallSeconds: given.deploy?.writeStallSeconds ?? 900,
      instanceSeconds: given.deploy?.instanceSeconds ?? 1200,
      minimumOffSeconds: given.deploy?.minimumOffSeconds ?? 5
    },
    bmc: { pollSeconds: given.bmc?.pollSeconds ?? 60 },
    log: { level: given.log?.level ?? 'info' }
  }
}

function schemaFaults(json: unknown): string[] {
  if (compiled.Check(json)) return []
  const faults: string[] = []
  for (const error of compiled.Errors(json)) {
    const where = error.instancePath.slice(1).replaceAll('/', '.')
    const parameters = error.params as Record<string, unknown>
    if (error.keyword === 'additionalProperties')
      for (const key of parameters['additionalProperties'] as string[])
        faults.push(`unknown key "${where ? where + '.' : ''}${key}"; remove it or correct its spelling`)
    else if (error.keyword === 'required')
      for (const key of parameters['requiredProperties'] as string[])
        faults.push(`"${where ? where + '.' : ''}${key}" is missing`)
    else if (error.keyword !== 'boolean') faults.push(`"${where || 'the whole file'}" ${error.message}`)
  }
  return [...new Set(faults)]
}

function networkFaults(config: Static<typeof ConfigSchema>): string[] {
  const faults: string[] = []
  const address = parseIp(config.network.address)
  if (address === undefined) faults.push(`"network.address" ${config.network.address} is not an IPv4 address`)
  let served = false
  config.network.subnets.forEach((subnet, index) => {
    const name = `network.subnets.${index}`
    const range = parseCidr(subnet.cidr)
    if (!range) {
      faults.push(
        `"${name}.cidr" ${subnet.cidr} is not a network such as 192.0.2.0/24 (host bits must be zero)`
      )
      return
    }
    const inside = (ip: string) => {
      const value = parseIp(ip)
      return value !== undefined && value > range.first && value < range.last
    }
    if (inside(config.network.address)) served = true
    if (!inside(subnet.pool.start))
      faults.push(`"${name}.pool.start" ${subnet.pool.start} is not a host address in ${subnet.cidr}`)
    if (!inside(subnet.pool.end))
      faults.push(`"${name}.pool.end" ${subnet.pool.end} is not a host address in ${subnet.cidr}`)
    const start = parseIp(subnet.pool.start) ?? 0
    const end = parseIp(subnet.pool.end) ?? 0
    if (start > end)
      faults.push(`"${name}.pool" starts (${subnet.pool.start}) after it ends (${subnet.pool.end})`)
    if (address !== undefined && address >= start && address <= end)
      faults.push(
        `"${name}.pool" contains Seedling's own address ${config.network.address}; leave it out of the pool`
      )
    if (subnet.gateway !== undefined) {
      if (!inside(subnet.gateway)) faults.push(`"${name}.gateway" ${subnet.gateway} is not in ${subnet.cidr}`)
      const gateway = parseIp(subnet.gateway) ?? 0
      if (gateway >= start && gateway <= end)
        faults.push(`"${name}.pool" contains the gateway ${subnet.gateway}`)
    }
    for (const ip of [...(subnet.dns ?? []), ...(subnet.ntp ?? [])])
      if (parseIp(ip) === undefined) faults.push(`"${name}" names ${ip}, which is not an IPv4 address`)
  })
  if (!served && faults.length === 0)
    faults.push(`"network.address" ${config.network.address} is in none of "network.subnets"`)
  return faults
}
