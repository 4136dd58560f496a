// `seedling health`: exit code 0 only when all is well.

import type { Command } from 'commander'
import type { AddCommand } from './command.ts'

export function healthCommand(program: Command, command: AddCommand): void {
  command(
    program,
    'health',
    'whether all is well; exit code 1 when something needs attention',
    async (client, out) => {
      const answer = await client.ask('GET', '/v1/health')
      if (out.asJson) out.json(answer)
      else
        for (const { name, ok, message } of answer['checks'] as {
          name: string
          ok: boolean
          message: string
        }[])
          out.line(`${ok ? 'ok     ' : 'PROBLEM'} ${name.padEnd(9)} ${message}`)
      if (!out.asJson) out.line(`last backup: ${String(answer['last_backup_at'] ?? 'none since the start')}`)
      return answer['status'] === 'ok'
    }
  )
}
