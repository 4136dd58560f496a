"""A BMC made of pyghmi's server classes (Debian package python3-pyghmi): pyghmi-bmc.py PORT SUITE

Says "ready" when it listens on loopback. pyghmi as shipped speaks cipher suite 3 alone; the session class here also speaks
suite 17 (IPMI 2.0, sections 13.18 to 13.23 and 13.28 with SHA-256).
"""

import hashlib
import hmac
import os
import struct
import sys

from pyghmi.ipmi.private import constants, serversession
from pyghmi.ipmi.private.session import Session
from pyghmi.ipmi import bmc

# Suite: hash, bytes of a code, algorithm numbers.
SUITES = {3: (hashlib.sha1, 12, (1, 1, 1)), 17: (hashlib.sha256, 16, (3, 4, 1))}
NO_MATCHING_SUITE = 0x11
UNAUTHORIZED_NAME = 0x0D
INVALID_CHECK = 0x0F


class SuiteSession(serversession.ServerSession):
    def code(self, key, *parts):
        return hmac.new(key, b"".join(bytes(part) for part in parts), self.currhashlib).digest()

    def who(self):
        return struct.pack("2B", self.rolem, len(self.username)) + self.username

    def answer(self, kind, tag, status, *parts):
        head = bytearray([tag, status, 0, 0]) + self.clientsessionid
        self.send_payload(head + b"".join(bytes(part) for part in parts), constants.payload_types[kind], retry=False)

    def create_open_session_response(self, request):
        self.currhashlib, self.currhashlen, wanted = SUITES[self.bmc.suite]
        self.clientsessionid = bytes(request[4:8])
        self.managedsessionid = os.urandom(4)
        if (request[12], request[20], request[28]) != wanted:
            return bytearray([request[0], NO_MATCHING_SUITE, 0, 0]) + self.clientsessionid
        blocks = [[kind, 0, 0, 8, number, 0, 0, 0] for kind, number in enumerate(wanted)]
        head = bytearray([request[0], 0, 4, 0]) + self.clientsessionid + self.managedsessionid
        return head + bytearray(sum(blocks, []))

    def _got_rakp1(self, data):
        self.Rm, self.rolem = bytes(data[8:24]), data[24]
        self.maxpriv = self.rolem & 0b111
        self.username = bytes(data[28:28 + data[27]])
        password = self.authdata.get(self.username.decode())
        if password is None:
            return self.answer("rakp2", data[0], UNAUTHORIZED_NAME)
        self.kuid = password.encode()
        self.Rc = os.urandom(16)
        guid = self.uuid.bytes
        code = self.code(self.kuid, self.clientsessionid, self.managedsessionid, self.Rm, self.Rc, guid, self.who())
        self.answer("rakp2", data[0], 0, self.Rc, guid, code)

    def _got_rakp3(self, data):
        if data[1] != 0:
            return
        expected = self.code(self.kuid, self.Rc, self.clientsessionid, self.who())
        if not hmac.compare_digest(expected, bytes(data[8:])):
            return self.answer("rakp4", data[0], INVALID_CHECK)
        self.sik = self.code(self.kg or self.kuid, self.Rm, self.Rc, self.who())
        self.k1, self.k2 = self.code(self.sik, b"\x01" * 20), self.code(self.sik, b"\x02" * 20)
        self.aeskey = self.k2[:16]
        self.localsid = struct.unpack("<I", self.managedsessionid)[0]
        self.ipmicallback = self.handle_client_request
        check = self.code(self.sik, self.Rm, self.managedsessionid, self.uuid.bytes)[:self.currhashlen]
        self.answer("rakp4", data[0], 0, check)
        # From here on its packets are protected; these two are only looked at for being there.
        self.confalgo, self.integrityalgo = "aes", "sha"
        self.sequencenumber = 1
        self.sessionid = struct.unpack("<I", self.clientsessionid)[0]


class Machine(bmc.Bmc):
    power = "off"
    device = 0

    def get_power_state(self):
        return self.power

    def power_on(self):
        self.power = "on"

    def power_off(self):
        self.power = "off"

    def handle_raw_request(self, request, session):
        boot = (request["netfn"], request["command"])
        data = bytearray(request["data"])
        if boot == (0, 8) and data[0] == 5:
            self.flags = data[1:6]
            return session.send_ipmi_response()
        if boot == (0, 8):
            return session.send_ipmi_response(code=0x80)
        if boot == (0, 9) and data[0] == 5:
            return session.send_ipmi_response(data=[1, 5] + list(self.flags))
        super().handle_raw_request(request, session)

    flags = bytearray(5)


serversession.ServerSession = SuiteSession
machine = Machine({"admin": "secret123"}, port=int(sys.argv[1]), address="::ffff:127.0.0.1")
machine.suite = int(sys.argv[2])
if len(sys.argv) > 3:
    machine.kg = bytes.fromhex(sys.argv[3])
print("ready", flush=True)
while True:
    Session.wait_for_rsp(timeout=1)
