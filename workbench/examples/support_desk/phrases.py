"""How the offline model says things: several ways for each, the likeliest first."""

from __future__ import annotations

GREETINGS = (
    "Hi {name},",
    "Hello {name},",
    "Dear {name},",
    "Good day {name},",
    "Hi {name}, thanks for getting in touch.",
)
SORRY = (
    "I'm sorry about the trouble.",
    "Sorry that this went wrong.",
    "That is not how it should be, and I apologise.",
    "Thank you for telling us, and sorry for the bother.",
    "I understand that this is annoying.",
    "I'm sorry you had to write to us about this.",
)
THANKS = (
    "Thank you for your message.",
    "Thanks for writing to us.",
    "Thanks for asking.",
    "Good question.",
    "Happy to look into this.",
    "I have looked into it for you.",
)
CLOSINGS = (
    "If anything is unclear, just reply to this message.",
    "Just answer here if you need anything else.",
    "Write back any time; we keep your case open for a week.",
    "Is there anything else I can do for you?",
    "We are here every day from 8 to 20.",
    "Let me know whether this solves it.",
    "Have a good day.",
)
SIGNATURES = (
    "Larkfield customer desk",
    "Your Larkfield customer desk",
    "Kind regards, Larkfield customer desk",
    "Best wishes from the Larkfield customer desk",
)
REFUNDED = (
    (
        "I have refunded €{amount:.2f} for order {order_id} (reference {refund_id}); it reaches"
        " your account in {arrives_in_days} working days."
    ),
    (
        "€{amount:.2f} for order {order_id} is on its way back to you. The reference is"
        " {refund_id} and it takes {arrives_in_days} working days."
    ),
    (
        "Your refund of €{amount:.2f} for {order_id} is booked under {refund_id}. Please allow"
        " {arrives_in_days} working days."
    ),
    (
        "We are paying back €{amount:.2f} for order {order_id} (reference {refund_id}), which"
        " usually shows up after {arrives_in_days} working days."
    ),
)
LABELLED = (
    "The prepaid return label {label} is in your inbox and valid until {valid_until}.",
    "Please use the return label {label}, which I have just mailed to you, before {valid_until}.",
    "I mailed you a return label ({label}); it can be used until {valid_until}.",
)
TICKETED = (
    (
        "I have passed this on to a colleague as ticket {ticket}; you will hear from us within two"
        " working days."
    ),
    "A colleague takes it from here. Your ticket is {ticket}.",
    "This needs a second pair of eyes, so I opened ticket {ticket} for you.",
    "I have opened ticket {ticket} and a team lead will decide within two working days.",
)
READDRESSED = (
    "Order {order_id} now goes to {address}.",
    "I have changed the delivery address of {order_id} to {address}.",
    "Done: we send {order_id} to {address}.",
)
TRACKED = {
    "in transit": (
        "Your parcel for order {order_id} is in transit; the last scan was at the {place}.",
        "The carrier last scanned order {order_id} at the {place}, so it is on its way.",
        "Order {order_id} is moving: it was last seen at the {place}.",
    ),
    "delivered": (
        "The carrier reports order {order_id} as delivered; the last scan was at the {place}.",
        "According to the carrier, order {order_id} has been delivered.",
    ),
    "label created": (
        "Order {order_id} has not left our warehouse yet.",
        "We are still packing order {order_id}.",
    ),
}
SERVICE = {
    "operational": (
        "The {service} service works normally again; please try once more.",
        "Our {service} service is up, with {error_rate_percent} % of requests failing.",
        "All lights are green for {service} right now.",
    ),
    "recovering": (
        "The {service} service is recovering; {error_rate_percent} % of the requests still fail.",
        "We had a fault in {service}; it is recovering, so it may need a second try.",
    ),
    "degraded": (
        (
            "There is a fault in our {service} service at the moment ({error_rate_percent} % of"
            " requests fail). It is being worked on."
        ),
        "Our {service} service is degraded just now. It is not your device.",
    ),
    "major_outage": (
        (
            "Our {service} service is down at the moment. It is being repaired, and you need not do"
            " anything."
        ),
        "There is an outage of {service} right now; the next update is due within the hour.",
    ),
}
NOTHING_DUE = (
    (
        "I looked at the payments of order {order_id}: there is one payment of €{amount:.2f}. The"
        " second line is only an authorisation and disappears by itself within seven days."
    ),
    (
        "For order {order_id} we took €{amount:.2f} once. What you see beside it is a reservation"
        " that your bank releases within seven days."
    ),
)
SHIPPED_ALREADY = (
    (
        "Order {order_id} has already been handed to the carrier, so only the carrier can"
        " redirect it: please use the link in the tracking mail."
    ),
    (
        "I can no longer change the address of {order_id}, as it left our warehouse. The link in"
        " the tracking mail lets you redirect it."
    ),
)
UNCONFIRMED = (
    "We have received your request and are working on it.",
    "I could not settle this right away.",
    "I need a little more time for this one.",
)
HAND_OVER_REASONS = {
    "billing": (
        "customer asks about an order or a payment",
        "payment or order to be settled",
        "needs access to orders and payments",
        "order question, see the customer's message",
    ),
    "technical": (
        "device or app does not work",
        "technical fault reported by the customer",
        "needs status and diagnostics",
        "check the service first, then the device",
    ),
    "policy": (
        "customer asks what our rules are",
        "question about our terms",
        "rules to be looked up",
        "answer from the knowledge base",
    ),
}
THINKING = (
    "",
    "Let me look at the facts first.",
    "Checking.",
    "One moment, I am looking this up.",
    "I will check this in our systems.",
)
NOTE_OPENINGS = (
    "Done.",
    "Settled.",
    "Note for the front desk:",
    "Finished here.",
    "For the reply:",
)
TICKET_SUBJECTS = (
    "{intent}: please take over",
    "Customer request needs a decision ({intent})",
    "{intent}, not covered by the rules",
    "Second look needed: {intent}",
)
