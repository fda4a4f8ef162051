"""Questions of several steps, where who skips one gets a wrong answer that looks right."""

from __future__ import annotations

from tunix_eval.data.questions.question import trace_sensitive

SEVERAL_STEPS = (
    trace_sensitive(
        "discount-then-tip",
        "percentages",
        "medium",
        "A meal costs 60 euros. First 15% is taken off, and then a tip of 10% of the reduced price is added. How many "
        "euros are paid?",
        "56.10",
        "56.1",
    ),
    trace_sensitive(
        "two-taps",
        "rates",
        "hard",
        "Tap A alone fills a basin in 6 minutes, tap B alone in 12 minutes. Both are open for the first 3 minutes, "
        "then B is closed. How many more minutes does it take until the basin is full?",
        "1.5",
        "1 1/2",
        "3/2",
    ),
    trace_sensitive(
        "there-and-back",
        "rates",
        "hard",
        "A courier drives 60 km at 40 km/h and then the same way back at 60 km/h. What is her average speed in km/h "
        "over the whole trip?",
        "48",
        "48 km/h",
    ),
    trace_sensitive(
        "ant-colony",
        "growth",
        "medium",
        "A colony of 400 ants grows by half of its size every week, and at the end of every week 100 ants move away. "
        "How many ants are there after 3 weeks?",
        "875",
    ),
    trace_sensitive(
        "standing-passengers",
        "arithmetic",
        "medium",
        "A bus with 52 seats sets out with 40 passengers. At the first stop 15 get off and 22 get on, at the second 8 "
        "get off and 16 get on. How many passengers have no seat after that?",
        "3",
    ),
    trace_sensitive(
        "loan-rest",
        "fractions",
        "medium",
        "Mira borrows 1,200 euros without interest. In the first month she pays back a quarter of it, in the second a "
        "third of what she still owes, and in the third 150 euros. How many euros does she owe then?",
        "450",
    ),
    trace_sensitive(
        "fast-clock",
        "times",
        "medium",
        "A clock gains 4 minutes in every hour. It is set right at 08:00. What does it show when it is really 15:30? "
        "Answer as hh:mm on the 24-hour clock.",
        "16:00",
    ),
    trace_sensitive(
        "painters-leave",
        "rates",
        "hard",
        "Six painters would need 10 days for a job. After 4 days two of them leave. How many days does the whole job "
        "take, from its start to its end?",
        "13",
    ),
    trace_sensitive(
        "pool-border",
        "geometry",
        "hard",
        "Around a square pool of 8 m by 8 m runs a path that is 1 m wide everywhere. It is laid with square tiles of "
        "50 cm by 50 cm. How many tiles are needed?",
        "144",
    ),
    trace_sensitive(
        "marbles-back",
        "fractions",
        "medium",
        "Bruno has 84 marbles and Carla has none. He gives her a third of his marbles, and then she gives him back a "
        "quarter of what she got. How many marbles does Bruno have now?",
        "63",
    ),
    trace_sensitive(
        "bank-fee",
        "money",
        "medium",
        "A bank takes a fee of 5 euros off the amount and changes the rest at 0.90 euros for a dollar. How many "
        "dollars does Timo get for 140 euros?",
        "150",
    ),
    trace_sensitive(
        "day-workers",
        "percentages",
        "medium",
        "A town has 20,000 people. 60% of them are adults, 75% of the adults have a job, and 20% of those work at "
        "night. How many adults have a job and do not work at night?",
        "7200",
        "7,200",
    ),
    trace_sensitive(
        "double-less-one",
        "sequences",
        "medium",
        "A sequence begins with 3, and every further number is twice the one before, minus 1. What is its sixth "
        "number?",
        "65",
    ),
    trace_sensitive(
        "leaking-barrel",
        "rates",
        "medium",
        "A barrel holds 90 litres at 12:00 and loses 2 litres an hour. At 15:00 it is filled up to 100 litres, and "
        "from then on it loses 3 litres an hour. How many litres does it hold at 20:00?",
        "85",
    ),
    trace_sensitive(
        "digits-of-a-number",
        "arithmetic",
        "easy",
        "Take the number 4726. Add up its digits, multiply the sum by its first digit, and subtract its last digit. "
        "What is the result?",
        "70",
    ),
    trace_sensitive(
        "fifth-meeting",
        "times",
        "hard",
        "Meetings of 45 minutes follow one another, with a break of 10 minutes between one and the next. The first "
        "begins at 09:00. When does the fifth one end? Answer as hh:mm on the 24-hour clock.",
        "13:25",
    ),
    trace_sensitive(
        "task-graph",
        "logic",
        "hard",
        "The tasks A, B, C and D take 3, 5, 2 and 4 hours. C can begin when A is done, and D when both B and C are "
        "done; apart from that, all tasks can run at the same time. After how many hours at the earliest is "
        "everything done?",
        "9",
    ),
    trace_sensitive(
        "league-points",
        "arithmetic",
        "hard",
        "In a league a win brings 3 points, a draw 1 and a defeat none. A team has played 14 games, lost 3 of them, "
        "and has 25 points. How many games has it won?",
        "7",
    ),
    trace_sensitive(
        "rope-ends",
        "arithmetic",
        "medium",
        "A rope of 10 m is cut into two halves. From one half as many pieces of 40 cm as possible are cut, from the "
        "other as many pieces of 30 cm as possible. How many centimetres are left over in all?",
        "40",
    ),
    trace_sensitive(
        "two-red-balls",
        "probability",
        "hard",
        "A bag holds 3 red and 2 green balls. Two balls are drawn blindly, one after the other, and the first is not "
        "put back. What is the probability that both are red? Answer with a fraction in lowest terms.",
        "3/10",
        "0.3",
        "30%",
    ),
    trace_sensitive(
        "working-days",
        "dates",
        "hard",
        "A parcel is handed in on Tuesday 29 April and arrives on the fourth working day after that. Saturdays, "
        "Sundays and 1 May are no working days. On which day of May does it arrive? Answer with a number.",
        "6",
        "6th",
        "the 6th",
        "6 May",
        "May 6",
    ),
    trace_sensitive(
        "biscuit-flour",
        "ratios",
        "medium",
        "A recipe for 12 biscuits takes 150 g of flour. A baker makes 5 trays of 16 biscuits each and spills another "
        "50 g of flour. How many grams of flour are gone in all?",
        "1050",
        "1,050",
    ),
    trace_sensitive(
        "two-ages",
        "ages",
        "hard",
        "Five years ago Wanda was three times as old as Xaver. In five years she will be twice as old as he will be. "
        "How old is Wanda now?",
        "35",
        "35 years",
        "35 years old",
    ),
    trace_sensitive(
        "lift-ride",
        "arithmetic",
        "medium",
        "A lift sets out from floor 6, goes down 5 floors, and then up 9. After that it goes down half as many floors "
        "as it has travelled until then. On which floor is it?",
        "3",
        "3rd floor",
        "the third floor",
        "floor 3",
    ),
    trace_sensitive(
        "taxi-fare",
        "money",
        "hard",
        "A taxi costs 3.50 euros to begin with, 1.80 euros for each of the first 5 km, and 1.20 euros for every "
        "further kilometre. How many euros does a ride of 12 km cost?",
        "20.90",
        "20.9",
    ),
)
