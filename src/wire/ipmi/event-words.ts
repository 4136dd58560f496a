// Words for sensor types and their states (IPMI 2.0, tables 42-1 to 42-3): what happens to machines, not all there is.

/** Names of sensor types, table 42-3. */
const SENSOR_TYPES: readonly string[] = [
  ...[
    'reserved',
    'temperature',
    'voltage',
    'current',
    'fan',
    'physical security',
    'platform security',
    'processor'
  ],
  ...['power supply', 'power unit', 'cooling device', 'other units', 'memory', 'drive slot', 'memory resize'],
  ...[
    'firmware progress',
    'event logging',
    'watchdog 1',
    'system event',
    'critical interrupt',
    'button',
    'module'
  ],
  ...[
    'microcontroller',
    'add-in card',
    'chassis',
    'chip set',
    'other FRU',
    'cable',
    'terminator',
    'system boot'
  ],
  ...['boot error', 'OS boot', 'OS stop', 'slot', 'ACPI power state', 'watchdog 2', 'platform alert'],
  ...[
    'entity presence',
    'monitor ASIC',
    'LAN',
    'management subsystem',
    'battery',
    'session audit',
    'version change'
  ],
  'FRU state'
]

const THRESHOLDS = [
  'lower non-critical',
  'lower critical',
  'lower non-recoverable',
  'upper non-critical',
  'upper critical',
  'upper non-recoverable'
] as const

/** States every sensor type shares, by event type; table 42-2. */
const SHARED: Readonly<Record<number, readonly string[]>> = {
  0x02: ['idle', 'active', 'busy'],
  0x03: ['no', 'yes'],
  0x04: ['no failure predicted', 'failure predicted'],
  0x05: ['within limits', 'limit exceeded'],
  0x06: ['performance met', 'performance lags'],
  0x07: [
    ...['OK', 'non-critical from OK', 'critical from less severe', 'non-recoverable from less severe'],
    ...[
      'non-critical from more severe',
      'critical from non-recoverable',
      'non-recoverable',
      'monitor',
      'informational'
    ]
  ],
  0x08: ['absent', 'present'],
  0x09: ['disabled', 'enabled'],
  0x0a: [
    ...['running', 'in test', 'power off', 'on line', 'off line', 'off duty', 'degraded', 'power save'],
    'installation error'
  ],
  0x0b: [
    ...['fully redundant', 'redundancy lost', 'redundancy degraded', 'not redundant, sufficient'],
    ...[
      'sufficient, not redundant',
      'not redundant, insufficient',
      'degraded from full',
      'degraded from none'
    ]
  ],
  0x0c: ['D0', 'D1', 'D2', 'D3']
}

/** States of one sensor type, event type 0x6f; table 42-3. */
const OF_TYPE: Readonly<Record<number, readonly string[]>> = {
  0x05: [
    'chassis opened',
    'drive bay opened',
    'I/O card area opened',
    'processor area opened',
    'LAN cable pulled'
  ],
  0x07: [
    ...['internal error', 'thermal trip', 'self-test failed', 'hung in POST', 'initialisation failed'],
    ...['configuration error', 'SM BIOS error', 'present', 'disabled', 'terminator present', 'throttled'],
    ...['machine check', 'correctable machine check']
  ],
  0x08: [
    'present',
    'failed',
    'failure predicted',
    'input lost',
    'input lost or out of range',
    'input out of range',
    'configuration error'
  ],
  0x09: [
    'off',
    'power cycle',
    '240 V off',
    'interlock',
    'AC lost',
    'soft control failed',
    'failed',
    'failure predicted'
  ],
  0x0c: [
    ...['correctable error', 'uncorrectable error', 'parity error', 'scrub failed', 'disabled'],
    ...[
      'limit of correctable errors',
      'present',
      'configuration error',
      'spare',
      'throttled',
      'over temperature'
    ]
  ],
  0x0d: [
    ...['present', 'faulty', 'failure predicted', 'hot spare', 'consistency check', 'in critical array'],
    ...['in failed array', 'rebuilding', 'rebuild aborted']
  ],
  0x0f: ['firmware error', 'firmware hang', 'firmware progress'],
  0x10: [
    'correctable memory errors no longer logged',
    'event type no longer logged',
    'log cleared',
    'logging off',
    'log full',
    'log almost full'
  ],
  0x12: [
    'reconfigured',
    'OEM boot event',
    'undetermined hardware failure',
    'auxiliary log entry',
    'PEF action',
    'clock set'
  ],
  0x13: [
    ...[
      'front panel NMI',
      'bus time-out',
      'I/O check NMI',
      'software NMI',
      'PCI parity error',
      'PCI system error'
    ],
    ...[
      'EISA fail-safe time-out',
      'bus correctable error',
      'bus uncorrectable error',
      'fatal NMI',
      'bus fatal error'
    ]
  ],
  0x14: ['power button', 'sleep button', 'reset button', 'FRU latch opened', 'FRU service request'],
  0x1d: [
    'power-up',
    'hard reset',
    'warm reset',
    'PXE boot asked for',
    'boot to diagnostics',
    'OS initiated hard reset',
    'OS initiated warm reset',
    'restarted'
  ],
  0x1e: [
    'no bootable medium',
    'no diskette',
    'PXE server not found',
    'invalid boot sector',
    'time-out at boot choice'
  ],
  0x1f: ['A: boot', 'C: boot', 'PXE boot', 'diagnostic boot', 'CD boot', 'ROM boot', 'boot completed'],
  0x20: [
    'stopped while loading',
    'run-time stop',
    'stopped gracefully',
    'shut down gracefully',
    'soft shut-down by PEF',
    'agent not responding'
  ],
  0x22: ['working', 'sleeping', 'sleeping', 'sleeping', 'suspended to disk', 'soft off', 'soft off'],
  0x23: ['expired', 'hard reset', 'power down', 'power cycle'],
  0x25: ['present', 'absent', 'disabled'],
  0x28: [
    'degraded',
    'controller degraded',
    'management off line',
    'controller absent',
    'sensor failure',
    'FRU failure'
  ],
  0x29: ['low', 'failed', 'present'],
  0x2a: [
    'session activated',
    'session deactivated',
    'invalid user name or password',
    'disabled after wrong passwords'
  ]
}

export function sensorTypeWords(sensorType: number): string {
  return SENSOR_TYPES[sensorType] ?? (sensorType >= 0xc0 ? 'OEM' : 'unknown')
}

/** What a state's bit means for a sensor of this event type, or `state 3` where nothing is known. */
export function stateWords(eventType: number, sensorType: number, state: number): string {
  const unknown = `state ${state}`
  if (eventType === 0x01) {
    // Each threshold has two events: going low, going high.
    const threshold = THRESHOLDS[state >> 1]
    return threshold === undefined ? unknown : `${threshold} going ${(state & 1) === 0 ? 'low' : 'high'}`
  }
  const words = eventType === 0x6f ? OF_TYPE[sensorType] : SHARED[eventType]
  return words?.[state] ?? unknown
}

/** The thresholds a reading has passed, out of its bits; the order is the reading's. */
export function passedThresholds(states: number): string[] {
  return THRESHOLDS.filter((_, bit) => (states & (1 << bit)) !== 0)
}
