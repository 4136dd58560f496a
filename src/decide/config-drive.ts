// The config-drive: the instance's identity on its own disk, in OpenStack's layout, so that cloud-init finds it without any network and
// without any guess (a volume called `config-2` is looked for on every kind of hardware).

import { Buffer } from 'node:buffer'
import type { Instance } from '../domain/instance.ts'
import type { Node, Port } from '../domain/node.ts'
import type { Ec2Tree } from '../wire/ec2.ts'
import { ec2Tree, instanceUrls } from './metadata.ts'

/** `content` is base64; `path` is relative to the volume's root. */
export type DriveFile = { path: string; content: string }

/**
 * The OpenStack versions that are written, beside `latest`. cloud-init takes the newest folder that it knows: since 0.7.9 (Rocky) that is
 * 2018-08-27; older ones know 2015-10-15, the first with network data.
 */
const VERSIONS = ['latest', '2018-08-27', '2015-10-15']

/** `ports` are the node's; `url` is where machines reach us, without a slash at the end. */
export function configDrive(given: {
  instance: Instance
  node: Node
  ports: readonly Port[]
  url: string
}): DriveFile[] {
  const { instance, node, ports, url } = given
  const booting = bootPort(node, ports)
  const userData = instance.userData === null ? null : Buffer.from(instance.userData, 'base64')
  const openstack: [string, unknown][] = [
    ['meta_data.json', metaData(instance, node)],
    ['network_data.json', networkData(node, ports, booting)],
    ['vendor_data.json', { 'cloud-init': collectConfigScript(instanceUrls(instance, url).request) }]
  ]
  const files: DriveFile[] = []
  const add = (path: string, content: Buffer): void => {
    files.push({ path, content: content.toString('base64') })
  }
  for (const version of VERSIONS) {
    for (const [name, document] of openstack) add(`openstack/${version}/${name}`, json(document))
    if (userData) add(`openstack/${version}/user_data`, userData)
  }
  if (booting) add('ec2/latest/meta-data.json', json(asJson(ec2Tree(instance, node, booting))))
  if (userData) add('ec2/latest/user-data', userData)
  return files
}

/** The port the machine boots from: as the ramdisk saw it, else the first that has an address. */
function bootPort(node: Node, ports: readonly Port[]): Port | null {
  const addressed = ports.filter((port) => port.reservedIp !== null)
  return addressed.find((port) => port.address === node.inventory?.bootInterface) ?? addressed[0] ?? null
}

function metaData(instance: Instance, node: Node): Record<string, unknown> {
  return {
    uuid: instance.uuid,
    name: instance.hostname,
    hostname: instance.hostname,
    'local-hostname': instance.hostname,
    launch_index: 0,
    availability_zone: 'seedling',
    public_keys: instance.publicKeys,
    keys: Object.entries(instance.publicKeys).map(([name, data]) => ({ name, type: 'ssh', data })),
    // OpenStack's `meta` holds texts only.
    meta: Object.fromEntries([
      ...Object.entries(instance.metadata).filter(([, value]) => typeof value === 'string'),
      ['seedling_node', node.uuid]
    ])
  }
}

/**
 * A link for every port, DHCP on the one that boots. A link that the machine does not have makes cloud-init give up on the network
 * altogether, so ports that the ramdisk did not see are left out.
 */
function networkData(node: Node, ports: readonly Port[], booting: Port | null): Record<string, unknown> {
  const seen = node.inventory && new Set(node.inventory.interfaces.map((nic) => nic.mac.toLowerCase()))
  const present = ports.filter((port) => port === booting || !seen || seen.has(port.address))
  const id = (port: Port): string => `port-${present.indexOf(port)}`
  return {
    links: present.map((port) => ({
      id: id(port),
      type: 'phy',
      ethernet_mac_address: port.address,
      vif_id: port.uuid,
      mtu: null
    })),
    networks: booting
      ? [{ id: 'network-0', link: id(booting), type: 'ipv4_dhcp', network_id: 'provisioning' }]
      : [],
    services: []
  }
}

/**
 * Points os-collect-config, where the image has it, at its document. cloud-init runs this as vendor data: at the first boot, after
 * users and keys, and never in place of the operator's own user data.
 */
function collectConfigScript(requestUrl: string): string {
  const lines = [
    '[DEFAULT]',
    'command = os-refresh-config',
    'collectors = request',
    'min_polling_interval = 5',
    'polling_interval = 30',
    '',
    '[request]',
    // oslo.config expands $; URLs here have none, and it must stay so.
    `metadata_url = ${requestUrl.replaceAll('$', '$$$$')}`
  ]
  return [
    '#!/bin/sh',
    '# Written by Seedling: where os-collect-config finds the configuration of this instance.',
    'set -eu',
    'command -v os-collect-config >/dev/null 2>&1 || exit 0',
    'umask 077',
    `printf '%s\\n' \\`,
    ...lines.map((line) => `  ${shellQuote(line)} \\`),
    '  >/etc/os-collect-config.conf.new',
    'mv /etc/os-collect-config.conf.new /etc/os-collect-config.conf',
    '# Not waited for: its unit may itself be ordered after cloud-init.',
    'systemctl --no-block restart os-collect-config',
    ''
  ].join('\n')
}

/** One word for a POSIX shell, whatever is in it. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** The tree as os-collect-config reads it from the drive: numbered keys carry their name as `_name`. */
function asJson(tree: Ec2Tree): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(tree).map(([key, value]) => {
      const equals = key.indexOf('=')
      if (typeof value === 'string') return [key, value]
      return equals < 0 ? [key, asJson(value)] : [key.slice(0, equals), { _name: key, ...asJson(value) }]
    })
  )
}

function json(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document, null, 2) + '\n')
}
