// The schema, as a list of steps; `PRAGMA user_version` says how many have been taken. A step that was ever released is
// never edited: add one.

export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE node (
    uuid TEXT PRIMARY KEY,
    name TEXT UNIQUE,
    driver TEXT NOT NULL,
    driver_info TEXT NOT NULL,
    properties TEXT NOT NULL,
    extra TEXT NOT NULL,
    instance_info TEXT NOT NULL,
    instance_uuid TEXT UNIQUE,
    resource_class TEXT,
    description TEXT,
    owner TEXT,
    state TEXT NOT NULL CHECK (state IN ('enroll', 'manageable', 'available', 'active')),
    power_state TEXT,
    power_state_at INTEGER,
    last_error TEXT,
    maintenance INTEGER NOT NULL,
    maintenance_reason TEXT,
    inventory TEXT,
    provision_updated_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER
  ) STRICT;

  CREATE INDEX node_bmc ON node(json_extract(driver_info, '$.ipmi_address'));

  CREATE TABLE port (
    uuid TEXT PRIMARY KEY,
    node_uuid TEXT NOT NULL REFERENCES node(uuid) ON DELETE CASCADE,
    address TEXT NOT NULL UNIQUE,
    pxe_enabled INTEGER NOT NULL,
    physical_network TEXT,
    local_link_connection TEXT NOT NULL,
    extra TEXT NOT NULL,
    reserved_ip TEXT UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER
  ) STRICT;
  CREATE INDEX port_node ON port(node_uuid);

  CREATE TABLE lease (
    mac TEXT PRIMARY KEY,
    ip TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('bound', 'released', 'declined')),
    expires_at INTEGER NOT NULL,
    hostname TEXT,
    updated_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX lease_ip ON lease(ip);

  CREATE TABLE image (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    chunk_size INTEGER NOT NULL,
    stored_size INTEGER NOT NULL,
    format TEXT NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE keypair (
    name TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE instance (
    uuid TEXT PRIMARY KEY,
    node_uuid TEXT NOT NULL REFERENCES node(uuid) ON DELETE CASCADE,
    image_id TEXT NOT NULL REFERENCES image(id),
    hostname TEXT NOT NULL,
    public_keys TEXT NOT NULL,
    user_data TEXT,
    metadata TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX instance_node ON instance(node_uuid);

  CREATE TABLE "order" (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    node_uuid TEXT NOT NULL REFERENCES node(uuid) ON DELETE CASCADE,
    image_id TEXT,
    instance_uuid TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed', 'cancelled')),
    attempt INTEGER NOT NULL,
    token TEXT NOT NULL,
    attempt_started_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    ticks TEXT NOT NULL,
    asked TEXT,
    trouble TEXT,
    progress TEXT,
    failure TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
  ) STRICT;
  -- One open order a node: whatever else goes wrong, two orders never drive one machine.
  CREATE UNIQUE INDEX order_open ON "order"(node_uuid) WHERE state = 'open';
  CREATE INDEX order_node ON "order"(node_uuid, created_at);
  CREATE INDEX order_token ON "order"(token);

  CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    repeats INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    node_uuid TEXT,
    order_id TEXT,
    detail TEXT NOT NULL
  ) STRICT;
  CREATE INDEX event_last ON event(last_at);
  CREATE INDEX event_node ON event(node_uuid, kind, subject, id);
  `,
  `
  -- One row an address rather than one a MAC: an address that was declined stays barred when its machine got another.
  CREATE TABLE lease_by_ip (
    ip TEXT PRIMARY KEY,
    mac TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('reserved', 'discovery', 'foreign')),
    state TEXT NOT NULL CHECK (state IN ('bound', 'released', 'declined')),
    expires_at INTEGER NOT NULL,
    client_id TEXT,
    declines INTEGER NOT NULL,
    hostname TEXT,
    updated_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT OR REPLACE INTO lease_by_ip
    SELECT ip, mac, 'reserved', state, expires_at, NULL, 0, hostname, updated_at FROM lease ORDER BY updated_at;
  DROP TABLE lease;
  ALTER TABLE lease_by_ip RENAME TO lease;
  CREATE INDEX lease_mac ON lease(mac);

  CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    lease_time INTEGER NOT NULL,
    wall_time INTEGER NOT NULL,
    synchronised INTEGER NOT NULL,
    uptime INTEGER NOT NULL,
    boot_id TEXT NOT NULL
  ) STRICT;
  `,
  `
  ALTER TABLE node ADD COLUMN power_ons TEXT NOT NULL DEFAULT '[]';
  ALTER TABLE node ADD COLUMN quirk_card TEXT;
  ALTER TABLE "order" ADD COLUMN reading TEXT;
  ALTER TABLE "order" ADD COLUMN soft_seconds INTEGER;
  -- The line is new: an order whose ramdisk has called is past it.
  UPDATE "order" SET ticks = json_set(ticks, '$."network-seen"', json_extract(ticks, '$."agent-seen"'))
    WHERE json_extract(ticks, '$."agent-seen"') IS NOT NULL;
  `,
  `
  ALTER TABLE "order" ADD COLUMN loader_trial TEXT;
  ALTER TABLE node ADD COLUMN boot_loader TEXT;
  ALTER TABLE node ADD COLUMN hardware_model TEXT;
  CREATE INDEX node_model ON node(hardware_model) WHERE boot_loader IS NOT NULL;
  `,
  `
  ALTER TABLE node ADD COLUMN handover TEXT;
  `,
  `
  CREATE TABLE standing (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    fenced TEXT
  ) STRICT;
  `,
  `
  ALTER TABLE standing ADD COLUMN finished_at INTEGER;
  `
]
