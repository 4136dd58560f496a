// Makes the dependencies, opens every socket, then serves; stops on SIGTERM. The wiring diagram of the process: what one
// service needs of another is handed over here and nowhere else.

import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { parseArgs } from 'node:util'
import { machineUrl, type BootSettings } from '../src/decide/boot-file.ts'
import { METADATA_ADDRESS } from '../src/decide/dhcp-reply.ts'
import { checkOurs } from '../src/decide/provision.ts'
import { pathMtu } from '../src/decide/tftp.ts'
import { USUAL_MTU } from '../src/decide/tftp-transfer.ts'
import { bmcAccess } from '../src/domain/bmc-access.ts'
import { AppError } from '../src/domain/error.ts'
import { FENCED_EXIT } from '../src/domain/standing.ts'
import type { Node } from '../src/domain/node.ts'
import type { Ip } from '../src/wire/address.ts'
import { startApi, type ApiDeps } from './api/server.ts'
import { createBackups } from './backup.ts'
import { startBmcs } from './bmc/bmcs.ts'
import { agentRoutes } from './boot/agent.ts'
import { bootFileHashes, openBootFiles } from './boot/files.ts'
import { startBoot } from './boot/server.ts'
import { startConsoles } from './console/consoles.ts'
import { startRecorder } from './console/recorder.ts'
import { openRecordings } from './console/recordings.ts'
import { startConductor } from './conductor/conductor.ts'
import { startLeaseClock } from './clock.ts'
import { loadConfig } from './config.ts'
import { startDhcpService } from './dhcp/service.ts'
import { startHandoff } from './handoff/engine.ts'
import { startImages } from './images/images.ts'
import { openLog } from './log.ts'
import { hearsOwnAddress, linkMac, linkMtu, startLinkWatch } from './link.ts'
import { inheritedSockets, listenDatagrams, listenDhcp, listenOptions } from './listen.ts'
import { loadNative } from './native-sockets.ts'
import { metadataRoutes } from './metadata/routes.ts'
import { createSuccession } from './succession.ts'
import { openSystemd } from './systemd.ts'
import { createApply } from './store/apply.ts'
import { createFacts } from './store/facts.ts'
import { openStore } from './store/open.ts'
import { loadLoaders } from './tftp/loaders.ts'
import { startTftp } from './tftp/server.ts'

const TFTP_PORT = 69
const METADATA_PORT = 80
const PROXY_DHCP_PORT = 4011
const ADDRESS_PATIENCE_MILLISECONDS = 3000

/** Runs `seedling serve`; resolves when everything serves. AppError when the configuration or the host does not allow it. */
export async function serve(args: string[]): Promise<void> {
  const file = configFile(args)
  const config = loadConfig(file)
  const { log, lost } = openLog(config.log.level)
  // It ends the process as ever: what state it is in nobody can say, and all that counts is in the store.
  process.on('uncaughtExceptionMonitor', (err) =>
    log.fatal({ err }, 'our fault: the process ends, the next one goes on from what is stored')
  )
  log.info({ config, node: process.version, pid: process.pid }, 'starting')

  const systemd = await openSystemd(process.env)
  const store = openStore(config.dataDir, ({ message }) => {
    log.fatal(
      { dataDir: config.dataDir, error: message },
      `the disk with ${config.dataDir} fails: nothing more is answered or acknowledged; ending. Look at the disk (dmesg); the next start checks the state`
    )
    process.exit(1)
  })
  const facts = createFacts(store)
  const apply = createApply(store)
  const now = () => Date.now()
  const clock = startLeaseClock({ store, facts, apply })
  const leaseNow = clock.now
  const token = () => randomBytes(32).toString('hex')
  const { address, interface: link } = config.network
  const url = machineUrl(address, config.http.port)
  const limits = config.deploy

  // Every socket first: a half-served network is worse than none.
  const inherited = inheritedSockets(process.env, process.pid)
  // Ours now: no child of ours is to take them for its own.
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name]
  const dhcpSockets = await listenDhcp({ interface: link, address }, inherited)
  const clientSockets = await listenDhcp({ interface: link, address }, inherited, 'dhcp-client')
  const proxySocket =
    config.network.dhcp.mode === 'proxy'
      ? await listenDatagrams('proxydhcp', { address, port: PROXY_DHCP_PORT }, inherited)
      : undefined
  const tftpSocket = await listenDatagrams('tftp', { address, port: TFTP_PORT }, inherited)

  const succession = createSuccession({
    ...{ store, facts, apply, log, now, address, run: randomBytes(8).readBigUInt64BE() },
    onEnd(error) {
      log.fatal(error.detail, error.message)
      process.exit(error.code === 'fenced' ? FENCED_EXIT : 1)
    }
  })
  const mac = linkMac(link) ?? ''
  if (!hearsOwnAddress(link))
    log.warn(
      { link },
      `a Seedling with this state and this very address, a copy or a successor, would not be noticed: sysctl net.ipv4.conf.${link}.accept_local=1`
    )
  const finished = facts.standing().finishedAt !== null
  // Where no machine is enrolled there is nothing to lose.
  const mayMeet = config.network.dhcp.mode !== 'listen' && !finished && facts.nodes().length > 0
  // Before the first answer, the first order and the first word to a BMC; what is only read is read meanwhile.
  const [native, files] = await Promise.all([
    loadNative(),
    openBootFiles(config.boot.ramdisks),
    mayMeet && succession.look({ interface: link, address }, mac, clientSockets)
  ])
  const loaders = loadLoaders(config.boot.loaders)
  const settings: BootSettings = {
    url,
    ramdisks: bootFileHashes(files),
    console: config.boot.console,
    kernelArguments: config.boot.kernelArguments
  }
  const common = { config, store, facts, apply, log, now, leaseNow }

  const bmcs = startBmcs({ now: () => performance.now(), random: randomBytes, log })
  // Nothing is said to the BMC of a machine that has another owner, whoever asks and whatever they still know of it.
  const access = (node: Node) => {
    checkOurs(facts.nodeByUuid(node.uuid) ?? node)
    return bmcAccess(node)
  }
  const bmc = (node: Node) => bmcs.bmc(node.uuid, access(node), node.quirkCard)
  const examine = async (node: Node, wait: boolean) => bmcs.examine(access(node), { bootDevice: true, wait })
  const consoles = startConsoles<Node>({
    open: async (node, options, listener) => bmcs.console(access(node), options, listener),
    now: () => performance.now(),
    log: log.child({ service: 'console' })
  })
  const recordings = openRecordings(config.dataDir)
  const join: ApiDeps['consoles']['join'] = (node, ...rest) => consoles.join(node.uuid, node, ...rest)
  // Before the conductor: what ends in its first turns has been recorded, too.
  const recorder = startRecorder({ ...common, recordings, join, byDefault: config.console.record })
  const conductor = startConductor({
    ...common,
    token,
    limits,
    bmc,
    examine,
    pollSeconds: config.bmc.pollSeconds
  })
  const { wake } = conductor
  const images = startImages(common)
  const asked = new Map<string, number>()
  const boot = await startBoot({
    ...common,
    log: log.child({ service: 'boot' }),
    dataDir: config.dataDir,
    files,
    loaders,
    settings,
    ...(native ? { segments: native.segments } : {}),
    routes: [
      agentRoutes({ ...common, token, limits, url, wake }),
      metadataRoutes({ ...common, url, wake, asked })
    ],
    listen: listenOptions('http', { host: address, port: config.http.port }, inherited),
    // Where clouds have their metadata service, and where our leases route it to (option 121). What systemd passed hears it already.
    metadata:
      inherited.has('http') || !hasAddress(METADATA_ADDRESS)
        ? null
        : { host: METADATA_ADDRESS, port: METADATA_PORT }
  })
  const tftp = await startTftp({
    ...common,
    log: log.child({ service: 'tftp' }),
    socket: tftpSocket,
    singlePort: config.tftp.singlePort,
    address,
    loaders,
    settings,
    mtu: (client) => Math.min(pathMtu(client, config.network.subnets), linkMtu(link) ?? USUAL_MTU)
  })
  const dhcp = startDhcpService({
    ...common,
    loaders,
    mac,
    succession,
    sockets: { server: dhcpSockets, client: clientSockets, proxy: proxySocket },
    away: clock.away,
    wake
  })
  // Ports and all: from then on whatever serves next may have them.
  let landing: Promise<unknown> | null = null
  const endLanding = () => (landing ??= Promise.all([dhcp.close(), tftp.close()]))
  // In the turn that opened them, so nothing was heard.
  if (finished) await endLanding()
  const handoff = startHandoff({
    ...common,
    asked,
    dhcpAnswers: dhcp.answersFor,
    bootedAt: dhcp.bootedAt,
    bootDevice: async (node) => bmc(node).bootDevice(),
    letGo: (uuid) => consoles.dismiss(uuid, new AppError('wrong-state', 'The machine is handed over')),
    onFinish: () => void endLanding()
  })
  const api = await startApi({
    ...common,
    token,
    wake,
    bmc,
    images,
    inherited,
    dhcp,
    consoles: { join, recordings },
    handoff,
    lostLines: lost,
    backups: createBackups({ store, facts, dataDir: config.dataDir, configFile: file, now })
  })
  // Sockets do not outlive their link, and no answer may name an address that is not ours: ended, we are started again, and
  // refuse to serve until all is as the configuration says.
  const end = (what: string): void => {
    log.fatal({ link, address }, `${what}; ending`)
    process.exit(1)
  }
  const linkWatch = startLinkWatch({
    link: { interface: link, address },
    onChange(status, before) {
      log.warn({ link, ...status }, 'the link has changed')
      if (status.index !== before.index) return end(`${link} is gone, or was made anew`)
      // A link that comes up shows its address a moment later.
      setTimeout(() => {
        const { up, addressOk } = linkWatch.status()
        if (up && !addressOk) end(`${link} does not have ${address} any more`)
      }, ADDRESS_PATIENCE_MILLISECONDS).unref()
    }
  })
  systemd.ready()
  log.info({ url, link, loaders: [...loaders.keys()] }, 'serving')

  let stopping = false
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return
    stopping = true
    log.info({ signal }, 'stopping')
    systemd.stopping()
    linkWatch.close()
    // Machines first, then what they caused, then what all of them stand on.
    await Promise.all([endLanding(), boot.close(), api.close(), images.close(), handoff.close()])
    await recorder.close()
    await consoles.close()
    // An exam may take minutes, and is cut short by its BMC's end.
    await Promise.all([conductor.close(), bmcs.close()])
    await files.close()
    clock.close()
    store.close()
    log.info('stopped')
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal))
}

const hasAddress = (ip: Ip): boolean =>
  Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === ip))

function configFile(args: string[]): string {
  try {
    const { values } = parseArgs({ args, options: { config: { type: 'string' } } })
    if (values.config) return values.config
  } catch (error) {
    throw new AppError('bad-config', `${(error as Error).message}\nusage: seedling serve --config FILE`)
  }
  throw new AppError('bad-config', 'no configuration named\nusage: seedling serve --config FILE')
}
