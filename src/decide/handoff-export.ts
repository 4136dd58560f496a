// The plan in the words of whoever takes over: one function a format, each answering files by name. Secrets are in them only if the plan has them.

import type { HandoffNode, HandoffPlan } from '../domain/handoff.ts'
import { netmask, parseCidr } from '../wire/address.ts'

export type ExportFiles = Readonly<Record<string, string>>

/** What plans can be written as; the names are those of `--export`. */
export const EXPORTS = {
  ironic,
  bifrost,
  instackenv,
  metal3,
  plain,
  kea,
  dnsmasq,
  dhcpd,
  neutron
} satisfies Record<string, (plan: HandoffPlan) => ExportFiles>

export type ExportFormat = keyof typeof EXPORTS

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
const given = (object: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined))

/** What `POST /v1/nodes` takes, and `baremetal create FILE`. */
export function ironicNode(node: HandoffNode): Record<string, unknown> {
  return given({
    uuid: node.uuid,
    name: node.name,
    driver: node.driver,
    driver_info: node.driverInfo,
    properties: node.properties,
    resource_class: node.resourceClass,
    extra: node.extra,
    // Cleaning wipes; nobody asked for that.
    automated_clean: false
  })
}

/** What `POST /v1/ports` takes, without the node's own UUID. */
export function ironicPort(port: HandoffNode['ports'][number]): Record<string, unknown> {
  return given({
    uuid: port.uuid,
    address: port.address,
    pxe_enabled: port.pxeEnabled,
    physical_network: port.physicalNetwork,
    local_link_connection: Object.keys(port.localLinkConnection).length > 0 ? port.localLinkConnection : null
  })
}

/**
 * Two files and a script: `baremetal create` refuses instance_info and description, so `then.json` has those by UUID, and `adopt.sh` does the rest
 * with the plain client, each step only where it is not done yet.
 */
function ironic({ nodes }: HandoffPlan): ExportFiles {
  const create = nodes.map(({ export: node }) => ({
    ...ironicNode(node),
    ports: node.ports.map(ironicPort)
  }))
  const then = Object.fromEntries(
    nodes.map(({ export: node }) => [
      node.uuid,
      given({ instance_info: node.instanceInfo, description: node.description })
    ])
  )
  const steps = nodes.map(({ export: node }) => {
    const info = Object.entries(node.instanceInfo).map(
      ([key, value]) => `--instance-info ${quoted(`${key}=${String(value)}`)}`
    )
    const description = node.description ? ` --description ${quoted(node.description)}` : ''
    return [
      `# ${node.name ?? node.uuid}`,
      `state=$(baremetal node show ${node.uuid} -f value -c provision_state)`,
      `case $state in`,
      `  enroll) baremetal node set ${node.uuid} ${info.join(' ')}${description}`,
      `    baremetal node manage ${node.uuid} --wait 300 ;;`,
      `  manageable | 'adopt failed') baremetal node set ${node.uuid} ${info.join(' ')}${description} ;;`,
      `esac`,
      `state=$(baremetal node show ${node.uuid} -f value -c provision_state)`,
      `power=$(baremetal node show ${node.uuid} -f value -c power_state)`,
      `case $state in`,
      `  manageable | 'adopt failed')`,
      `    [ "$power" = 'power on' ] || { echo '${node.uuid} is not on, and would be kept so: nothing done' >&2; exit 1; }`,
      `    baremetal node adopt ${node.uuid} --wait 300 ;;`,
      `esac`,
      `baremetal node validate ${node.uuid}`,
      `baremetal node set ${node.uuid} --protected`,
      ''
    ].join('\n')
  })
  return {
    'nodes.json': json({ nodes: create }),
    'then.json': json(then),
    'adopt.sh': `#!/bin/sh\n# After: baremetal create nodes.json. May be run again.\nset -eu\n\n${steps.join('\n')}`
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Bifrost's inventory of machines (bifrost-create-dib… `baremetal.json`): by name. */
function bifrost({ nodes }: HandoffPlan): ExportFiles {
  return {
    'baremetal.json': json(
      Object.fromEntries(
        nodes.map(({ export: node }) => [
          node.name ?? node.uuid,
          given({
            uuid: node.uuid,
            name: node.name ?? node.uuid,
            driver: 'ipmi',
            driver_info: node.driverInfo,
            properties: node.properties,
            resource_class: node.resourceClass,
            nics: node.ports.map(({ address, physicalNetwork }) =>
              given({ mac: address, physical_network: physicalNetwork })
            ),
            ipv4_address: node.reservations[0]?.ip ?? null,
            instance_info: node.instanceInfo
          })
        ])
      )
    )
  }
}

/** TripleO's inventory, which Seedling reads too. */
function instackenv({ nodes }: HandoffPlan): ExportFiles {
  return {
    'instackenv.json': json({
      nodes: nodes.map(({ export: { name, driverInfo, properties, ports } }) =>
        given({
          name,
          pm_type: 'ipmi',
          pm_addr: driverInfo['ipmi_address'],
          pm_port: driverInfo['ipmi_port'],
          pm_user: driverInfo['ipmi_username'],
          pm_password: driverInfo['ipmi_password'],
          arch: properties['cpu_arch'],
          cpu: properties['cpus'],
          memory: properties['memory_mb'],
          disk: properties['local_gb'],
          capabilities: properties['capabilities'],
          ports: ports.map(({ address, physicalNetwork }) =>
            given({ address, physical_network: physicalNetwork })
          )
        })
      )
    })
  }
}

/** Metal3's BareMetalHost, externally provisioned: it is taken as it runs. */
function metal3({ nodes }: HandoffPlan): ExportFiles {
  const documents = nodes.flatMap(({ export: node }) => {
    const name = kubernetesName(node.name ?? node.uuid)
    const {
      ipmi_address: address,
      ipmi_port: port,
      ipmi_username: username,
      ipmi_password: password
    } = node.driverInfo
    const mode = /(?:^|,)boot_mode:(\w+)/.exec(String(node.properties['capabilities'] ?? ''))?.[1]
    const hasSecret = password !== undefined
    return [
      ...(hasSecret
        ? [
            {
              apiVersion: 'v1',
              kind: 'Secret',
              metadata: { name: `${name}-bmc` },
              type: 'Opaque',
              stringData: { username, password }
            }
          ]
        : []),
      {
        apiVersion: 'metal3.io/v1alpha1',
        kind: 'BareMetalHost',
        metadata: { name, annotations: { 'seedling/uuid': node.uuid } },
        spec: given({
          online: true,
          externallyProvisioned: true,
          automatedCleaningMode: 'disabled',
          bootMACAddress: node.ports.find(({ pxeEnabled }) => pxeEnabled)?.address ?? node.ports[0]?.address,
          bootMode: mode === 'bios' ? 'legacy' : mode === 'uefi' ? 'UEFI' : null,
          architecture: node.properties['cpu_arch'],
          bmc: {
            address: `ipmi://${String(address)}:${Number(port ?? 623)}`,
            credentialsName: `${name}-bmc`
          },
          description: node.description
        })
      }
    ]
  })
  // JSON is YAML, and quotes what must be quoted.
  return { 'baremetalhosts.yaml': documents.map((document) => `---\n${json(document)}`).join('') }
}

/** RFC 1123: what Kubernetes takes for a name. */
const kubernetesName = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
    .slice(0, 200)

/** Everything, in Ironic's words, for whoever has a system of their own. */
function plain(plan: HandoffPlan): ExportFiles {
  return {
    'handoff.yaml': json({
      nodes: plan.nodes.map(({ export: node }) => ({
        ...ironicNode(node),
        ports: node.ports.map(ironicPort),
        instance_info: node.instanceInfo,
        description: node.description,
        owner: node.owner,
        reservations: node.reservations
      })),
      subnets: plan.subnets
    })
  }
}

type Host = HandoffNode['reservations'][number]
const hosts = ({ nodes }: HandoffPlan): Host[] =>
  nodes.flatMap(({ export: { reservations } }) => reservations)
const inside = (cidr: string, ip: string): boolean => {
  const range = parseCidr(cidr)
  const number = ip.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)
  return range !== undefined && number >= range.first && number <= range.last
}

/** For "Dhcp4": subnets with their reservations. Reserved addresses only: no pool, so that nobody else gets an address there. */
function kea(plan: HandoffPlan): ExportFiles {
  const option = (name: string, data: string | null | undefined) => (data ? [{ name, data }] : [])
  return {
    'kea-dhcp4.json': json({
      Dhcp4: {
        subnet4: plan.subnets.map(({ cidr, gateway, dns, domain }, index) => ({
          id: index + 1,
          subnet: cidr,
          'option-data': [
            ...option('routers', gateway),
            ...option('domain-name-servers', dns.join(', ')),
            ...option('domain-name', domain)
          ],
          reservations: hosts(plan)
            .filter(({ ip }) => inside(cidr, ip))
            .map(({ mac, ip, hostname }) => given({ 'hw-address': mac, 'ip-address': ip, hostname }))
        }))
      }
    })
  }
}

function dnsmasq(plan: HandoffPlan): ExportFiles {
  const lines = plan.subnets.flatMap(({ cidr, gateway, dns, domain, mtu }) => {
    const [network, bits] = cidr.split('/') as [string, string]
    const tag = `net${network.replaceAll('.', '-')}`
    return [
      // "static": those that are named below, and nobody else.
      `dhcp-range=set:${tag},${network},static,${netmask(Number(bits))}`,
      ...(gateway ? [`dhcp-option=tag:${tag},option:router,${gateway}`] : []),
      ...(dns.length > 0 ? [`dhcp-option=tag:${tag},option:dns-server,${dns.join(',')}`] : []),
      ...(domain ? [`dhcp-option=tag:${tag},option:domain-name,${domain}`] : []),
      ...(mtu ? [`dhcp-option=tag:${tag},option:mtu,${mtu}`] : [])
    ]
  })
  const reserved = hosts(plan).map(
    ({ mac, ip, hostname }) => `dhcp-host=${[mac, ip, ...(hostname ? [hostname] : [])].join(',')}`
  )
  return { 'dnsmasq.conf': [...lines, ...reserved, ''].join('\n') }
}

/** ISC dhcpd. */
function dhcpd(plan: HandoffPlan): ExportFiles {
  const subnets = plan.subnets.map(({ cidr, gateway, dns, domain, mtu }) => {
    const [network, bits] = cidr.split('/') as [string, string]
    const options = [
      ...(gateway ? [`  option routers ${gateway};`] : []),
      ...(dns.length > 0 ? [`  option domain-name-servers ${dns.join(', ')};`] : []),
      ...(domain ? [`  option domain-name "${domain}";`] : []),
      ...(mtu ? [`  option interface-mtu ${mtu};`] : [])
    ]
    return [`subnet ${network} netmask ${netmask(Number(bits))} {`, ...options, '}'].join('\n')
  })
  const reserved = hosts(plan).map(
    ({ mac, ip, hostname }) =>
      `host seedling-${mac.replaceAll(':', '')} {\n  hardware ethernet ${mac};\n  fixed-address ${ip};\n${hostname ? `  option host-name "${hostname}";\n` : ''}}`
  )
  return { 'dhcpd.conf': `${[...subnets, ...reserved].join('\n')}\n` }
}

/** For `openstack subnet create` and `port create`: pools around what machines have, and a port that keeps each address. */
function neutron(plan: HandoffPlan): ExportFiles {
  const lines = plan.subnets.flatMap(({ cidr, gateway, dns, pool }, index) => {
    const name = `seedling-${index + 1}`
    const pools = pool ? ` --allocation-pool start=${pool.start},end=${pool.end}` : ''
    return [
      `openstack subnet create ${name} --network "$NETWORK" --subnet-range ${cidr}${pools} --gateway ${gateway ?? 'none'}${dns.map((one) => ` --dns-nameserver ${one}`).join('')}`,
      ...hosts(plan)
        .filter(({ ip }) => inside(cidr, ip))
        .map(
          ({ mac, ip, hostname }) =>
            `openstack port create ${quoted(hostname ?? mac)} --network "$NETWORK" --mac-address ${mac} --fixed-ip subnet=${name},ip-address=${ip}`
        )
    ]
  })
  return {
    'neutron.sh': `#!/bin/sh\n# NETWORK: the name of the provisioning network.\nset -eu\n: "\${NETWORK:?}"\n${lines.join('\n')}\n`
  }
}
