
p
*

service.name
chat

	host.name
hB

lib1
a-
sR(
$0ÿÿÿÿBþÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿ