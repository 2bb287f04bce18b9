# Messages through Postern: several recipients, a real sending Postfix, payload bytes.
# SPDX-License-Identifier: Apache-2.0
import case
from lab import wait_until
from world import ALICE, BOB, DAVE, fresh, message


class RecipientTest(case.Case):
    def test_a_recipient_with_another_home_is_put_off_to_the_next_transaction(self):
        client = self.world.smtp("mx")
        client.ehlo()
        subject = fresh("homes")
        self.assertEqual(client.mail("x@elsewhere.test")[0], 250)
        self.assertEqual(client.rcpt(ALICE)[0], 250)
        code, text = client.rcpt(BOB)
        self.assertEqual((code, text[:5]), (452, b"4.5.3"))
        self.assertEqual(client.data(message(subject))[0], 250)
        self.assertEqual(client.mail("x@elsewhere.test")[0], 250)
        self.assertEqual(client.rcpt(BOB)[0], 250)
        self.assertEqual(client.data(message(subject))[0], 250)
        client.quit()
        for user in (ALICE, BOB):
            _, copies = self.world.wait_for(subject, user)
            self.assertEqual(copies(), 1, user)

    def test_a_recipient_of_another_domain_is_refused(self):
        client = self.world.smtp("mx")
        client.ehlo()
        client.mail("x@elsewhere.test")
        code, text = client.rcpt("y@elsewhere.test")
        self.assertEqual((code, text[:5]), (550, b"5.7.1"))
        client.close()

    def test_a_sending_postfix_delivers_to_all_homes_exactly_once(self):
        sender = self.world.lab.start_postfix(
            "sender", relayhost=f"[127.0.0.1]:{self.world.doors['mx']}",
            extra="smtpd_relay_restrictions = permit_mynetworks, reject\nmynetworks = 127.0.0.0/8\n"
                  "smtp_destination_recipient_limit = 50")
        sender.wait_ready()
        subject, everybody = fresh("farm"), (ALICE, BOB, DAVE)
        client = self.world.smtp("mx", port=sender.smtp)
        client.sendmail("x@elsewhere.test", everybody, message(subject))
        client.quit()
        for user in everybody:
            self.world.wait_for(subject, user)
        wait_until(lambda: sender.queue_length() == 0, "the sender's queue to be empty", 30)
        for user in everybody:
            self.assertEqual(self.world.wait_for(subject, user)[1](), 1, user)
        self.assertNotIn("status=bounced", sender.log_text())


class PayloadTest(case.Case):
    needs_postern = False

    def test_dots_long_lines_and_eight_bits_arrive_unchanged(self):
        subject = fresh("payload")
        lines = [".", "..", ".dot first", "x" * 900, "gr\u00fc\u00df", "", "end"]
        body = "".join(line + "\r\n" for line in lines).encode()
        client = self.world.smtp("mx")
        client.sendmail("x@elsewhere.test", [ALICE], message(subject, "").encode() + body, ["BODY=8BITMIME"])
        client.quit()
        self.world.wait_for(subject)
        box = self.world.imap(port=self.world.pair1.imaps)
        box.select("INBOX", readonly=True)
        number = box.search(None, "SUBJECT", f'"{subject}"')[1][0]
        self.assertEqual(box.fetch(number, "(BODY.PEEK[TEXT])")[1][0][1], body)
        box.logout()

    def test_several_messages_in_one_session(self):
        subjects = [fresh("one of many") for _ in range(3)]
        client = self.world.smtp("submission", ALICE)
        for subject in subjects:
            client.sendmail(ALICE, [ALICE], message(subject))
        client.quit()
        for subject in subjects:
            self.assertEqual(self.world.wait_for(subject)[1](), 1)


class BareNewlineTest(case.Case):
    def test_a_bare_newline_is_refused_and_smuggles_nothing(self):
        subject = fresh("smuggled")
        client = self.world.smtp("mx")
        client.ehlo()
        client.mail("x@elsewhere.test")
        client.rcpt(ALICE)
        self.assertEqual(client.docmd("DATA")[0], 354)
        client.send(f"Subject: outer\r\n\r\nhi\n.\nMAIL FROM:<>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n"
                    f"Subject: {subject}\r\n\r\nbad\r\n.\r\n".encode())
        code, text = client.getreply()
        self.assertEqual((code, text[:6]), (550, b"5.6.11"))
        self.assertEqual(client.noop()[0], 250)
        client.quit()
        self.assertEqual(self.world.pair1.postfix.log_text().count(subject), 0)
