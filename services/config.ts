// One JSON file, one schema, everything checked before the first socket is opened; all faults are told at once.

import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { OrderLimits } from '../src/decide/order-deadline.ts'
import { AppError } from '../src/domain/error.ts'
import { Ip, NetworkSchema, readNetwork, type NetworkConfig } from './network-config.ts'

const Port = Type.Integer({ minimum: 1, maximum: 65535 })
const Seconds = Type.Integer({ minimum: 0, maximum: 7 * 86400 })

const RAMDISK = {
  kernel: Type.String({ minLength: 1, description: 'kernel of the deploy ramdisk' }),
  ramdisk: Type.String({ minLength: 1, description: 'the deploy ramdisk' })
}
const Folder = Type.String({ minLength: 1, description: 'folder with boot loaders' })

const ConfigSchema = Type.Object(
  {
    dataDir: Type.String({ minLength: 1, description: 'folder for the database, keys and images' }),
    network: NetworkSchema,
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
        ...RAMDISK,
        aarch64: Type.Optional(Type.Object(RAMDISK, { additionalProperties: false })),
        loaders: Type.Union([Folder, Type.Array(Folder, { minItems: 1 })]),
        console: Type.Optional(Type.Array(Type.String({ pattern: '^[a-zA-Z0-9,]+$' }))),
        kernelArguments: Type.Optional(Type.Array(Type.String({ pattern: '^[A-Za-z0-9_.,:/=+-]+$' })))
      },
      { additionalProperties: false }
    ),
    deploy: Type.Optional(
      Type.Object(
        {
          attempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
          powerSeconds: Type.Optional(Seconds),
          askAgainSeconds: Type.Optional(Seconds),
          rebootsPerHour: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
          networkSeconds: Type.Optional(Seconds),
          agentSeconds: Type.Optional(Seconds),
          writeStallSeconds: Type.Optional(Seconds),
          instanceSeconds: Type.Optional(Seconds),
          minimumOffSeconds: Type.Optional(Seconds)
        },
        { additionalProperties: false }
      )
    ),
    bmc: Type.Optional(Type.Object({ pollSeconds: Type.Optional(Seconds) }, { additionalProperties: false })),
    tftp: Type.Optional(
      Type.Object(
        {
          singlePort: Type.Optional(
            Type.Boolean({ description: 'whole transfers from port 69, for firewalls that know no TFTP' })
          )
        },
        { additionalProperties: false }
      )
    ),
    console: Type.Optional(
      Type.Object(
        {
          record: Type.Optional(
            Type.Boolean({ description: 'record the consoles of machines while they are deployed' })
          )
        },
        { additionalProperties: false }
      )
    ),
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

/** Files of one architecture's deploy ramdisk. */
export type RamdiskPaths = { kernel: string; ramdisk: string }

/** The effective configuration: every default filled in, every path absolute. */
export type Config = {
  dataDir: string
  network: NetworkConfig
  http: { port: number }
  /** `address` null: no TCP listener, only the Unix socket. */
  api: { address: string | null; port: number; socket: string }
  boot: {
    /** `kernel` and `ramdisk` of the file are those of x86_64. */
    ramdisks: { x86_64: RamdiskPaths; aarch64?: RamdiskPaths }
    loaders: string[]
    console: string[]
    kernelArguments: string[]
  }
  /** Limits and patience of orders; seconds. */
  deploy: OrderLimits
  /** 0: power is read only when an order needs it. */
  bmc: { pollSeconds: number }
  /** `singlePort`: whole transfers from the port that is asked, not from ports of their own. */
  tftp: { singlePort: boolean }
  /** Whether consoles are recorded during deployments where the node does not say (`extra.console.record`). */
  console: { record: boolean }
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
  const network =
    faults.length === 0 ? readNetwork((json as Static<typeof ConfigSchema>).network, faults) : undefined
  if (faults.length > 0 || !network)
    throw new AppError(
      'bad-config',
      `${file}: ${faults.length} fault${faults.length > 1 ? 's' : ''}\n  ${faults.join('\n  ')}`,
      {
        faults
      }
    )
  const given = json as Static<typeof ConfigSchema>
  const path = (name: string) => resolve(folder, name)
  const ramdisk = (files: RamdiskPaths) => ({ kernel: path(files.kernel), ramdisk: path(files.ramdisk) })
  return {
    dataDir: path(given.dataDir),
    network,
    http: { port: given.http?.port ?? 80 },
    api: { address: given.api.address ?? null, port: given.api.port ?? 6385, socket: path(given.api.socket) },
    boot: {
      ramdisks: {
        x86_64: ramdisk(given.boot),
        ...(given.boot.aarch64 ? { aarch64: ramdisk(given.boot.aarch64) } : {})
      },
      loaders: [given.boot.loaders].flat().map(path),
      console: given.boot.console ?? [],
      kernelArguments: given.boot.kernelArguments ?? []
    },
    deploy: {
      attempts: given.deploy?.attempts ?? 3,
      powerSeconds: given.deploy?.powerSeconds ?? 120,
      askAgainSeconds: given.deploy?.askAgainSeconds ?? 30,
      rebootsPerHour: given.deploy?.rebootsPerHour ?? 12,
      networkSeconds: given.deploy?.networkSeconds ?? 900,
      agentSeconds: given.deploy?.agentSeconds ?? 1200,
      writeStallSeconds: given.deploy?.writeStallSeconds ?? 900,
      instanceSeconds: given.deploy?.instanceSeconds ?? 1200,
      minimumOffSeconds: given.deploy?.minimumOffSeconds ?? 5
    },
    bmc: { pollSeconds: given.bmc?.pollSeconds ?? 60 },
    tftp: { singlePort: given.tftp?.singlePort ?? false },
    console: { record: given.console?.record ?? true },
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
