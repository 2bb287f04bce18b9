# sender: one message in one SMTP session, tried once.
# SPDX-License-Identifier: Apache-2.0
import asyncio
import time

LINE = b"the quick brown fox jumps over the lazy dog, and over another one after it\r\n"
TEXT = LINE * (1024 * 1024 // len(LINE) + 1)
PIECE, PACED_PIECE = 65536, 4096
PATIENCE = 60.0  # seconds, for one reply


class Sender:
    """run() gives itself back, with how it went. pace: seconds that the text takes; 0: as fast as it is read."""

    def __init__(self, port, number, size, recipient, pace=0.0):
        self.port, self.number, self.size, self.recipient, self.pace = port, number, size, recipient, pace
        self.phase = "connect"
        self.reply = ""
        self.seconds = 0.0
        self.is_accepted = False
        self.is_text_sent = False  # the last dot too: from here on the outcome may be unknown

    async def run(self):
        began = time.monotonic()
        writer = None
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), PATIENCE)
            await self._talk(reader, writer)
            self.is_accepted = True
        except (OSError, EOFError, asyncio.TimeoutError, ValueError) as error:
            self.reply = self.reply or type(error).__name__
        self.seconds = time.monotonic() - began
        if writer is not None:
            writer.close()
        return self

    async def _talk(self, reader, writer):
        await self._expect(reader, "greeting", b"220")
        for phase, command, code in (
                ("ehlo", b"EHLO sender.test", b"250"), ("mail", b"MAIL FROM:<sender@elsewhere.test>", b"250"),
                ("rcpt", b"RCPT TO:<%s>" % self.recipient.encode(), b"250"), ("data", b"DATA", b"354")):
            writer.write(command + b"\r\n")
            await self._expect(reader, phase, code)
        self.phase = "text"
        writer.write(b"X-Number: %012d\r\nSubject: a message\r\n\r\n" % self.number)
        end = self.size - self.size % len(LINE) + len(LINE)
        piece = PACED_PIECE if self.pace else PIECE
        for at in range(0, end, piece):
            writer.write(TEXT[at:min(at + piece, end)])
            await writer.drain()
            if self.pace:
                await asyncio.sleep(self.pace * piece / end)
        writer.write(b".\r\n")
        self.is_text_sent = True
        await self._expect(reader, "end", b"250")
        writer.write(b"QUIT\r\n")

    async def _expect(self, reader, phase, code):
        self.phase = phase
        while True:
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                break
        if not line.startswith(code):
            self.reply = line.decode(errors="replace").strip()
            raise ValueError
