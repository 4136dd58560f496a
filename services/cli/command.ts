// How the files of the command line add their commands.

import type { Command } from 'commander'
import type { Client } from './client.ts'
import type { Out } from './nodes.ts'

/** Adds a command with the options that all have; what it answers false to ends with exit code 1. */
export type AddCommand = (
  parent: Command,
  usage: string,
  description: string,
  work: (client: Client, out: Out, args: string[], options: never) => Promise<boolean | void>
) => Command
